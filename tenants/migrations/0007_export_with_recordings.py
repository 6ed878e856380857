from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0006_command_by_recording"),
    ]

    operations = [
        migrations.AddField(
            model_name="tenantexport",
            name="with_recordings",
            field=models.BooleanField(default=False),
        ),
    ]
