"""What runs a model file: each runtime turns a file and a target into a job for the runner.

One with a function `run(transport, *, job, model)` does the job in the runner's place and returns the runner's events;
`inputs` of its job and the outputs of its events (`here`) are files of this machine, and `GIVES_OUTPUTS = False` says
that there are none among them. One that only estimates says `ESTIMATES = True`: its
events are `estimate`, each with a metric and a value in the metric's base unit, and `warning`, with a message.
"""
