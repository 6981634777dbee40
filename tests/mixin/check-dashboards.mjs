// Holds Grafana's dashboards against the types that Grafana publishes (npm's @grafana/schema): a field that is not there, or
// a value of another kind, is an error of the TypeScript compiler. What the types do not say is looked at here: every panel
// has a title, a unit, a description and a query, panels do not overlap, ids are unique, data sources are provisioned.
//
//   node tests/mixin/check-dashboards.mjs NODE_MODULES PROVISIONING DASHBOARD.json...
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const [modules, provisioning, ...files] = process.argv.slice(2);
if (files.length === 0) {
  console.error("give NODE_MODULES, the provisioned data sources, and at least one dashboard");
  process.exit(2);
}

const faults = [];
const fault = (file, text) => faults.push(`${file}: ${text}`);

// Enumerations are written as their values in JSON, so they are as good as these.
const PRELUDE = `
import type { Dashboard, Panel, RowPanel } from "@grafana/schema";
import type { Options, FieldConfig } from "@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen";
type Plain<T> =
  T extends string ? \`\${T}\` : T extends number ? number
  : T extends Array<infer U> ? Array<Plain<U>>
  : T extends object ? { [K in keyof T]: Plain<T[K]> } : T;
const dashboard = (d: Plain<Omit<Dashboard, "panels">>) => d;
const row = (p: Plain<RowPanel>) => p;
const panel = (p: Plain<Omit<Panel, "options" | "fieldConfig">>) => p;
const options = (o: Plain<Partial<Options>>) => o;
const custom = (c: Plain<FieldConfig>) => c;
const defaults = (d: Plain<Omit<NonNullable<Panel["fieldConfig"]>["defaults"], "custom">>) => d;
type Target = { refId: string; datasource: { type: string; uid: string } } & (
  { expr: string; legendFormat: string; range: boolean; exemplar: boolean; editorMode: "code" }
  | { target: string; textEditor: boolean });
const target = (t: Target) => t;
`;

const uids = new Set();
const sources = [...readFileSync(provisioning, "utf8").matchAll(/^\s*uid:\s*(\S+)/gm)].map((match) => match[1]);
const code = [PRELUDE];

for (const file of files) {
  const whole = JSON.parse(readFileSync(file, "utf8"));
  if (uids.has(whole.uid) || !/^[a-zA-Z0-9_-]{1,40}$/.test(whole.uid)) fault(file, `uid ${whole.uid}`);
  uids.add(whole.uid);
  const { panels, ...rest } = whole;
  code.push(`// ${file}`, `dashboard(${JSON.stringify(rest)});`);
  const taken = new Set();
  const ids = new Set();
  for (const one of panels) {
    const name = `panel ${one.id} (${one.title})`;
    if (ids.has(one.id)) fault(file, `${name} has the id of another`);
    ids.add(one.id);
    const { x, y, w, h } = one.gridPos;
    if (x + w > 24) fault(file, `${name} is wider than the grid`);
    for (let column = x; column < x + w; column++)
      for (let line = y; line < y + h; line++) {
        const cell = `${column},${line}`;
        if (taken.has(cell)) fault(file, `${name} overlaps another at ${cell}`);
        taken.add(cell);
      }
    if (one.type === "row") {
      code.push(`row(${JSON.stringify(one)});`);
      continue;
    }
    if (one.type !== "timeseries") fault(file, `${name} is a ${one.type}, which this check does not know`);
    if (!one.title || !one.description || !one.fieldConfig.defaults.unit) fault(file, `${name} lacks a title, description or unit`);
    if (!one.targets?.length) fault(file, `${name} has no query`);
    const { options, fieldConfig, ...panel } = one;
    const { custom, ...defaults } = fieldConfig.defaults;
    code.push(`panel(${JSON.stringify(panel)});`, `options(${JSON.stringify(options)});`);
    code.push(`defaults(${JSON.stringify(defaults)});`, `custom(${JSON.stringify(custom)});`);
    for (const target of one.targets) {
      code.push(`target(${JSON.stringify(target)});`);
      if (!sources.includes(target.datasource.uid)) fault(file, `${name} asks ${target.datasource.uid}, which is not provisioned`);
    }
  }
}

const folder = mkdtempSync(join(tmpdir(), "dashboards-"));
try {
  symlinkSync(resolve(modules), join(folder, "node_modules"));
  writeFileSync(join(folder, "package.json"), '{"type":"module"}');
  writeFileSync(join(folder, "check.ts"), code.join("\n"));
  const tsc = ["--noEmit", "--strict", "--skipLibCheck", "--module", "nodenext", "--moduleResolution", "nodenext", "check.ts"];
  execFileSync(join(resolve(modules), ".bin/tsc"), tsc, { cwd: folder, encoding: "utf8" });
} catch (error) {
  // The line that the compiler names is one call, so that its text says which panel it is.
  const at = /^check\.ts\((\d+)/gm;
  const lines = code.join("\n").split("\n");
  for (const line of (error.stdout ?? String(error)).split("\n").filter(Boolean)) {
    const number = at.exec(line)?.[1];
    at.lastIndex = 0;
    faults.push(number ? `${line}\n    in ${lines[number - 1].slice(0, 160)}` : line);
  }
} finally {
  rmSync(folder, { recursive: true });
}

if (faults.length > 0) {
  console.error(faults.join("\n"));
  process.exit(1);
}
console.log(`${files.length} dashboards are as Grafana's schema has them`);
