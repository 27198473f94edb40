"""Before anything is touched: can what the plan wants work on this host at all?

Asked only when there is something to change, in one further request: a run that changes nothing does not pay for it.
What is certain by arithmetic refuses the host; what may still turn out well is a warning.
"""
