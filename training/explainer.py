"""A forest's explainer: an ONNX model that gives each feature's contribution to a score, run for alerts.

A tree asks about one feature at a time, and each answer moves the mean score of the training transactions
that are left: these moves, from the root to a leaf, are the contributions (A. Saabas, "Interpreting random
forests", 2014). They depend on the leaf alone, so a tree's leaves hold a value for each feature instead of
a score, and the explainer runs wherever the model runs.
"""

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper
from sklearn.ensemble import RandomForestClassifier
from sklearn.tree import DecisionTreeClassifier

_NO_CHILD = -1


def explainer_onnx(forest: RandomForestClassifier, opsets: dict[str, int]) -> bytes:
    """Convert to ONNX: float32 [n, features] in, float32 [n, features] contributions out.

    Args:
        forest: of two classes, honest and fraud.
        opsets: versions by domain.

    """
    trees = [_tree_attributes(tree, number) for number, tree in enumerate(forest.estimators_)]
    width = forest.n_features_in_
    attributes = {name: np.concatenate([tree[name] for tree in trees]) for name in trees[0]}
    attributes["target_weights"] /= len(trees)
    node = helper.make_node(
        "TreeEnsembleRegressor",
        ["features"],
        ["contributions"],
        domain="ai.onnx.ml",
        n_targets=width,
        **{name: values.tolist() for name, values in attributes.items()},
    )
    graph = helper.make_graph(
        [node],
        "explainer",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, width])],
        [helper.make_tensor_value_info("contributions", TensorProto.FLOAT, [None, width])],
    )
    imports = [helper.make_opsetid(domain, version) for domain, version in opsets.items()]
    model = helper.make_model(
        graph, opset_imports=imports, ir_version=helper.find_min_ir_version_for(imports)
    )
    content: bytes = model.SerializeToString()
    return content


def base_score(forest: RandomForestClassifier) -> float:
    """Give the start of every score, the mean of the trees' shares of frauds at their roots."""
    return float(np.mean([_fraud_shares(tree)[0] for tree in forest.estimators_]))


def _tree_attributes(tree: DecisionTreeClassifier, number: int) -> dict[str, NDArray[np.generic]]:
    """One tree's part of the attributes of the operator TreeEnsembleRegressor."""
    nodes = tree.tree_
    inner = nodes.children_left != _NO_CHILD
    leaves = np.flatnonzero(~inner)
    contributions = _contributions(tree)[leaves]
    # a leaf at the root has no contribution, but needs a weight
    contributed = contributions != 0
    contributed[~contributed.any(axis=1), 0] = True
    at, features = np.nonzero(contributed)
    return {
        "nodes_treeids": np.full(nodes.node_count, number),
        "nodes_nodeids": np.arange(nodes.node_count),
        "nodes_modes": np.where(inner, b"BRANCH_LEQ", b"LEAF"),
        "nodes_featureids": np.where(inner, nodes.feature, 0),
        "nodes_values": np.where(inner, _rounded_down(nodes.threshold), 0),
        "nodes_truenodeids": np.where(inner, nodes.children_left, 0),
        "nodes_falsenodeids": np.where(inner, nodes.children_right, 0),
        "target_treeids": np.full(len(at), number),
        "target_nodeids": leaves[at],
        "target_ids": features,
        "target_weights": contributions[at, features],
    }


def _contributions(tree: DecisionTreeClassifier) -> NDArray[np.float64]:
    """Sum up how the score moved on the way to each node: [nodes, features]."""
    nodes, shares = tree.tree_, _fraud_shares(tree)
    moves = np.zeros((nodes.node_count, tree.n_features_in_))
    # a child's number is higher than its parent's
    for node in np.flatnonzero(nodes.children_left != _NO_CHILD):
        for child in (nodes.children_left[node], nodes.children_right[node]):
            moves[child] = moves[node]
            moves[child, nodes.feature[node]] += shares[child] - shares[node]
    return moves


def _fraud_shares(tree: DecisionTreeClassifier) -> NDArray[np.float64]:
    """Give the share of frauds among the training transactions that came to each node: [nodes]."""
    classes = tree.tree_.value[:, 0, :]
    shares: NDArray[np.float64] = classes[:, 1] / classes.sum(axis=1)
    return shares


def _rounded_down(thresholds: NDArray[np.float64]) -> NDArray[np.float32]:
    """Round to float32 so that "at most" keeps its answer for every float32."""
    rounded = thresholds.astype(np.float32)
    return np.where(rounded > thresholds, np.nextafter(rounded, np.float32(-np.inf)), rounded)
