"""A DuckDB connection over a lake: a view for every table and fact, questions, checks and prices."""

from pipeline.query.connection import Connection, Outdated, connect, statements
from pipeline.query.question_files import Parameter, Question, QuestionError, question, questions

__all__ = [
    "Connection",
    "Outdated",
    "Parameter",
    "Question",
    "QuestionError",
    "connect",
    "question",
    "questions",
    "statements",
]
