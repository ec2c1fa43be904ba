"""`make soak`: a real cluster in three zones, many redis-py clients, every fault at once, and one
verdict over the recorded history.
"""
