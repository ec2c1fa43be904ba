"""`make soak`: a real cluster in three zones, many redis-py clients, all kinds of faults in
parallel.
One verdict judges the recorded history.
"""
