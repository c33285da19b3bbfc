"""The same work on many machines: Ray joins them, Ray Data hands batches to a pool of actors.

An actor holds one encoder or model. What it is given are recordings; what it answers for has been committed,
so a machine may die at any moment: its batches are done again by others, and nothing is there twice.
"""

from ser_transfer.clusters.answering import ClusterModel
from ser_transfer.clusters.cluster import Cluster, ClusterError, PoolSize
from ser_transfer.clusters.encoding import ClusterEncoder

__all__ = ["Cluster", "ClusterEncoder", "ClusterError", "ClusterModel", "PoolSize"]
