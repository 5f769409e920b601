"""api-versions: a refused one is left for the next newer one that is known, once for all."""

from __future__ import annotations

import logging
from datetime import timedelta

import pytest

from pipeline.config import API_VERSIONS, DEFAULT_API_VERSION
from pipeline.extract import ExtractError, ServiceError
from tests.extract.made_up import NOW, answer, failure_of, page_with, refusal


def refused(code="UnsupportedRequestVersion", text="The version is not supported."):
    """The service's refusal of an api-version."""
    return refusal(400, code, text)


def version_of(url):
    """The api-version that a URL asks in."""
    return url.partition("api-version=")[2].partition("&")[0]


@pytest.mark.parametrize("ask", ["pools", "pool", "nodes", "node"])
def test_a_refused_version_is_left_for_the_next_newer_one(connect, caplog, ask):
    """Whatever is asked first: it is asked again, and so is all that follows; with one warning."""
    body = answer() if ask in ("pools", "nodes") else answer(200, b'{"id": "x"}')
    client, service = connect(refused(), body, answer())
    with caplog.at_level(logging.WARNING):
        asked = getattr(client, ask)(*{"pool": "p", "nodes": "p", "node": "pn"}.get(ask, ""))
        if ask in ("pools", "nodes"):
            assert len(list(asked)) == 1
    list(client.pools())
    versions = [version_of(url) for url in service.urls]
    assert versions == [DEFAULT_API_VERSION, "2025-06-01", "2025-06-01"]
    assert client.api_version == "2025-06-01"
    (warning,) = [record.getMessage() for record in caplog.records]
    assert DEFAULT_API_VERSION in warning
    assert "2025-06-01" in warning


def test_versions_are_refused_one_after_another(connect):
    """From an unknown old one up to the newest; what refuses that too is the service's error."""
    client, service = connect(*[refused() for _ in range(5)], api_version="2019-08-01.10.0")
    error = failure_of(client.pools)
    assert error.code == "UnsupportedRequestVersion"
    assert [version_of(url) for url in service.urls] == ["2019-08-01.10.0", *API_VERSIONS]
    assert client.api_version == API_VERSIONS[-1]


@pytest.mark.parametrize(
    ("code", "text", "is_refusal"),
    [
        ("UnsupportedRequestVersion", "no", True),
        ("unsupportedrequestversion", "no", True),
        ("InvalidQueryParameterValue", "QueryParameterName: api-version", True),
        ("InvalidQueryParameterValue", "QueryParameterName: maxresults", False),
        ("InvalidPropertyValue", "api-version", False),
    ],
)
def test_only_a_refusal_of_the_version_moves_on(connect, code, text, is_refusal):
    """Any other error is what it is."""
    client, service = connect(refusal(400, code, text), answer())
    if is_refusal:
        assert len(list(client.pools())) == 1
    else:
        assert isinstance(failure_of(client.pools), ServiceError)
        assert len(service.urls) == 1


def test_a_link_is_followed_as_it_is(connect):
    """The next page is asked for in the version that its link names."""
    link = "https://acct.eastus.batch.azure.com/pools?api-version=2025-06-01&$skiptoken=a"
    client, service = connect(refused(), answer(200, page_with(link)), answer())
    assert len(list(client.pools())) == 2
    assert service.urls[2] == link


@pytest.mark.parametrize(
    ("version", "names"),
    [
        ("2024-07-01.20.0", ("timeout", "starttime")),
        ("2025-06-01", ("timeOut", "startTime")),
    ],
)
def test_parameters_are_spelt_as_the_version_has_them(connect, version, names):
    """The names changed with 2025-06-01."""
    client, service = connect(answer(200, b'{"id": "n"}'), answer(), api_version=version)
    client.node("p", "n", timeout=7)
    list(client.usage_metrics(NOW - timedelta(days=1), NOW))
    for url, name in zip(service.urls, names, strict=True):
        assert f"{name}=" in url


def test_a_version_without_usage_metrics_says_so(connect):
    """It is not even asked; the error names what to do."""
    client, service = connect(api_version="2026-10-01")
    error = failure_of(client.usage_metrics, NOW - timedelta(days=1), NOW)
    assert isinstance(error, ExtractError)
    assert error.code == "NoUsageMetrics"
    assert "--api-version 2025-06-01" in error.message
    assert service.urls == []
