"""A container twin of every host of an inventory: the fleet that will be provisioned, made here to be tested.

Only connections and addresses are replaced (and what `twin:` in the inventory says); the engine that runs is the same.
"""
