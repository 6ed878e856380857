from datetime import UTC, timedelta

from django.db import migrations

from cdr.tallies import COUNT


def count_calls(apps, schema_editor):
    """A day at a time, so that no statement runs long, however much was written before there were tallies."""
    calls = apps.get_model("cdr", "CDR").objects
    first = calls.order_by("start_time").values_list("start_time", flat=True).first()
    last = calls.order_by("-start_time").values_list("start_time", flat=True).first()
    if first is None:
        return
    day = first.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    with schema_editor.connection.cursor() as cursor:
        while day <= last:
            following = day + timedelta(days=1)
            cursor.execute(COUNT, [day, following])
            day = following


def forget(apps, schema_editor):
    apps.get_model("cdr", "Tally").objects.all().delete()


class Migration(migrations.Migration):
    dependencies = [("cdr", "0006_tallies")]

    operations = [migrations.RunPython(count_calls, forget)]
