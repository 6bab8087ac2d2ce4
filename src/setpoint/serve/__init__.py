"""The data plane: inference over HTTP, the prediction log, routing, deployments."""
