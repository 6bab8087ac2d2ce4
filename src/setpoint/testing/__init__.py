"""What projects and plug-ins test themselves with."""
