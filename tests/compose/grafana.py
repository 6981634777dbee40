"""Grafana's place in the proof, where Grafana itself cannot be had.

It reads what is mounted for Grafana, `/etc/grafana/provisioning`, follows it to the dashboards, and asks every query of
every panel of the real data sources, by the addresses that the provisioning names. It draws nothing.

    GET /api/health    200, as Grafana's
    GET /panels        each query with its number of series and values, or its error, as JSON
    GET /              the same as a page
"""

import glob
import html
import json
import os
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import yaml

PROVISIONING = os.environ.get("GF_PATHS_PROVISIONING", "/etc/grafana/provisioning")
# The time that the panels are asked for, in seconds, and its step.
RANGE = 300
STEP = 5


def read_yaml(kind):
    for path in sorted(glob.glob(f"{PROVISIONING}/{kind}/*.y*ml")):
        with open(path) as file:
            yield yaml.safe_load(file)


def data_sources():
    return {source["uid"]: source for file in read_yaml("datasources") for source in file["datasources"]}


def dashboards():
    for file in read_yaml("dashboards"):
        for provider in file["providers"]:
            for path in sorted(glob.glob(provider["options"]["path"] + "/*.json")):
                with open(path) as dashboard:
                    yield json.load(dashboard)


def panels(dashboard):
    for panel in dashboard["panels"]:
        yield panel
        yield from panel.get("panels", [])


def variables(dashboard):
    values = {"__rate_interval": "60s", "__interval": f"{STEP}s", "__range": f"{RANGE}s", "__interval_ms": str(STEP * 1000)}
    for variable in dashboard.get("templating", {}).get("list", []):
        value = variable.get("current", {}).get("value", variable.get("query", ""))
        if isinstance(value, list):
            value = "|".join(value)
        values[variable["name"]] = ".*" if value == "$__all" else str(value)
    return values


def substituted(text, values):
    return re.sub(r"\$\{(\w+)(?::\w+)?\}|\$(\w+)", lambda found: values.get(found[1] or found[2], found[0]), text)


def get(url, query, form=False):
    encoded = urllib.parse.urlencode(query, doseq=True)
    request = urllib.request.Request(url, encoded.encode()) if form else urllib.request.Request(f"{url}?{encoded}")
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)


def ask(source, target, values):
    """How many series, and how many values that are numbers."""
    now = int(time.time())
    if source["type"] == "prometheus":
        query = {"query": substituted(target["expr"], values), "start": now - RANGE, "end": now, "step": STEP}
        result = get(source["url"] + "/api/v1/query_range", query, form=True)["data"]["result"]
        return len(result), sum(value[1] != "NaN" for series in result for value in series["values"])
    if source["type"] == "graphite":
        query = {"target": substituted(target["target"], values), "from": now - RANGE, "until": now, "format": "json"}
        result = get(source["url"] + "/render", query, form=True)
        return len(result), sum(value[0] is not None for series in result for value in series["datapoints"])
    if source["type"] == "jaeger":
        result = get(source["url"] + "/api/services", {})["data"]
        return len(result), len(result)
    raise ValueError(f"no queries of type {source['type']} are known")


def run():
    sources = data_sources()
    for dashboard in dashboards():
        values = variables(dashboard)
        for panel in panels(dashboard):
            for target in panel.get("targets", []):
                uid = (target.get("datasource") or panel.get("datasource") or {}).get("uid")
                asked = {
                    "dashboard": dashboard["title"],
                    "panel": panel.get("title"),
                    "query": target.get("expr") or target.get("target"),
                    "source": substituted(uid or "", values),
                }
                try:
                    source = sources[asked["source"]]
                    asked["series"], asked["values"] = ask(source, target, values)
                except urllib.error.HTTPError as error:
                    asked["error"] = f"{error}: {error.read(500).decode(errors='replace')}"
                except (OSError, KeyError, ValueError) as error:
                    asked["error"] = repr(error)
                yield asked


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        path = self.path.split("?")[0]
        if path == "/api/health":
            return self.answer("application/json", json.dumps({"database": "ok", "version": "a stand-in"}))
        if path == "/panels":
            return self.answer("application/json", json.dumps(list(run()), indent=1))
        if path == "/":
            rows = "".join(
                "<tr>" + "".join(f"<td>{html.escape(str(asked.get(key, '')))}" for key in
                                 ("dashboard", "panel", "query", "series", "values", "error"))
                for asked in run()
            )
            return self.answer("text/html; charset=utf-8", f"<title>Not Grafana</title><h1>A stand-in, not Grafana</h1><table>{rows}</table>")
        self.send_error(404)

    def answer(self, content_type, text):
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    ThreadingHTTPServer(("0.0.0.0", int(os.environ.get("GF_SERVER_HTTP_PORT", "3000"))), Handler).serve_forever()
