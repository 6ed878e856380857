from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0004_recording_settings"),
    ]

    operations = [
        migrations.AddField(
            model_name="tenant",
            name="when_quota_full",
            field=models.CharField(
                choices=[
                    ("keep", "Keep every recording, beyond the quota"),
                    ("oldest", "Delete the oldest recordings"),
                ],
                default="keep",
                max_length=6,
            ),
        ),
    ]
