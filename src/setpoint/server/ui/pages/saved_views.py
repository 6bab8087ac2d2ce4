"""Views of the runs table under names: saved and removed."""

from urllib.parse import parse_qsl

from setpoint.errors import Invalid
from setpoint.reports.service import DeleteView, SaveView, delete_view, save_view
from setpoint.server.ui.page import Ask, Redirect
from setpoint.server.ui.pages.runs_view import read


def change(ask: Ask) -> Redirect:
    """Save the view that the form tells of, or remove the one it names."""
    what, name = ask.form.get("do", ""), ask.form.get("name", "")
    if what == "save":
        # Read and written anew: nothing but a view of ours is ever kept or led to.
        query = read(parse_qsl(ask.form.get("query", ""))).query
        ask.call(save_view, SaveView(name=name, query=query))
        return Redirect(to=f"/runs?{query}")
    if what == "delete":
        ask.call(delete_view, DeleteView(name=name))
        return Redirect(to=read(parse_qsl(ask.form.get("back", ""))).url())
    raise Invalid(f"views cannot be changed by {what!r}", hint="save or delete")
