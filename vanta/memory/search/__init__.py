"""Search in memory: by words and by meaning, and the ranking of what both find.

Invariant: private items never change the result among public ones.
"""

from vanta.memory.items import RECALL_LIMIT
from vanta.memory.search.candidates import RecallCandidate
from vanta.memory.search.exact_index import ExactIndex
from vanta.memory.search.lexical import match_expression, query_terms, scope_expression
from vanta.memory.search.ranking import HYBRID_WEIGHTS, LEXICAL_WEIGHTS, features, rank
from vanta.memory.search.relevance import MIN_RELEVANCE, evidence
from vanta.memory.search.retrieval import find_candidates
from vanta.memory.search.semantic import NEIGHBOURS, SMALL_PARTITION, SemanticSearch

__all__ = [
    "HYBRID_WEIGHTS",
    "LEXICAL_WEIGHTS",
    "MIN_RELEVANCE",
    "NEIGHBOURS",
    "RECALL_LIMIT",
    "SMALL_PARTITION",
    "ExactIndex",
    "RecallCandidate",
    "SemanticSearch",
    "evidence",
    "features",
    "find_candidates",
    "match_expression",
    "query_terms",
    "rank",
    "scope_expression",
]
