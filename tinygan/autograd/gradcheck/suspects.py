"""The usual suspects: what a wrong gradient of such a kind is usually caused by."""


def suspects(failure, problem, argument):
    return []
