"""`make soak`: a real cluster in three zones, many redis-py clients and all faults.
One verdict judges the recorded history.
"""
