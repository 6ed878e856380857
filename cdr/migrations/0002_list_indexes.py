import django.contrib.postgres.indexes
import django.contrib.postgres.search
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("cdr", "0001_initial"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="cdr",
            index=models.Index(fields=["direction", "-start_time", "-id"], name="cdr_by_direction"),
        ),
        migrations.AddIndex(
            model_name="cdr",
            index=models.Index(fields=["status", "-start_time", "-id"], name="cdr_by_status"),
        ),
        migrations.AddIndex(
            model_name="cdr",
            index=models.Index(fields=["end_reason", "-start_time", "-id"], name="cdr_by_end_reason"),
        ),
        migrations.AddIndex(
            model_name="cdr",
            index=models.Index(
                condition=models.Q(("trunk_name", ""), _negated=True),
                fields=["trunk_name", "-start_time", "-id"],
                name="cdr_by_trunk",
            ),
        ),
        migrations.AddIndex(
            model_name="cdr",
            index=models.Index(
                condition=models.Q(("did", ""), _negated=True),
                fields=["did", "-start_time", "-id"],
                name="cdr_by_did",
            ),
        ),
        migrations.AddIndex(
            model_name="cdr",
            index=models.Index(
                condition=models.Q(("recorded", True)), fields=["-start_time", "-id"], name="cdr_recorded"
            ),
        ),
        migrations.AddIndex(
            model_name="cdr",
            index=models.Index(fields=["talk_duration"], name="cdr_by_talk"),
        ),
        migrations.AddIndex(
            model_name="cdr",
            index=django.contrib.postgres.indexes.GinIndex(
                fields=["extensions"], name="cdr_by_extension", opclasses=["jsonb_path_ops"]
            ),
        ),
        migrations.AddIndex(
            model_name="cdr",
            index=django.contrib.postgres.indexes.GinIndex(
                django.contrib.postgres.search.SearchVector(
                    "caller_display_name", "callee_display_name", "final_display_name", config="simple"
                ),
                name="cdr_by_name",
            ),
        ),
    ]
