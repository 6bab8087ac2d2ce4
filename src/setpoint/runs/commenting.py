"""What people say about runs and experiments."""

from setpoint.comments import service as comments
from setpoint.comments.entities import Comment
from setpoint.core.operations import Context, operation
from setpoint.runs.commands import CommentExperiment, CommentRun
from setpoint.runs.store import experiments, runs


@operation("runs.comment", needs="runs:write")
def comment_run(ctx: Context, cmd: CommentRun) -> Comment:
    """Say something about a run."""
    return comments.comment(ctx, runs.get(ctx.conn, cmd.run).ref, cmd.text)


@operation("experiments.comment", needs="runs:write")
def comment_experiment(ctx: Context, cmd: CommentExperiment) -> Comment:
    """Say something about an experiment."""
    found = experiments.get(ctx.conn, id=cmd.id)
    return comments.comment(ctx, found.ref, cmd.text)


OPERATIONS = (comment_run, comment_experiment)
