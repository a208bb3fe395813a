import { readFileSync } from "node:fs";

/** JSON. */
export type Tree = string | number | boolean | null | undefined | Tree[] | { [key: string]: Tree };

/** An object. */
export type Fields = Record<string, Tree>;

/** A case with its rules expanded. */
export interface Case {
  group: string;
  name: string;
  rpc: string;
  service?: string;
  only?: string;
  metadata?: Record<string, string>;
  request?: Tree;
  requests?: Tree[];
  ignore?: string[];
  trailing?: Record<string, string>;
  reply?: Tree;
  error?: Fields;
}

/** All cases of a file. */
export function readCases(path: string): Case[] {
  const { cases, definitions } = JSON.parse(readFileSync(path, "utf8")) as { cases: Tree; definitions: Fields };
  return expanded(cases, definitions) as unknown as Case[];
}

/** A value with what the rules `use`, `join` and `repeat` stand for in their place. */
function expanded(value: Tree, definitions: Fields): Tree {
  if (Array.isArray(value)) return value.map((item) => expanded(item, definitions));
  if (typeof value !== "object" || value === null) return value;
  if (typeof value["use"] === "string") return definitions[value["use"]];
  const pairs = Object.entries(value).map(([key, item]) => [key, expanded(item, definitions)] as const);
  const fields: Fields = Object.fromEntries(pairs);
  const { join, repeat, times } = fields;
  if (Array.isArray(join)) return join.join("");
  return Array.isArray(repeat) ? Array<Tree[]>(times as number).fill(repeat).flat() : fields;
}

/** Where two trees first differ, doubles by their bits; empty where they are the same. */
export function difference(path: string, wanted: Tree, got: Tree): string {
  if (Array.isArray(wanted) && Array.isArray(got)) {
    if (wanted.length !== got.length) return `${path}: ${got.length} items instead of ${wanted.length}`;
    return first(wanted.map((item, index) => () => difference(`${path}[${index}]`, item, got[index])));
  }
  if (isObject(wanted) && isObject(got)) {
    const keys = [...new Set([...Object.keys(wanted), ...Object.keys(got)])];
    return first(keys.map((key) => () => difference(`${path}.${key}`, wanted[key], got[key])));
  }
  // Of two numbers Object.is sees every bit but those of NaN, which ProtoJSON writes as a text.
  const said = JSON.stringify(got)?.slice(0, 200);
  return Object.is(wanted, got) ? "" : `${path}: ${said} instead of ${JSON.stringify(wanted)?.slice(0, 200)}`;
}

function first(checks: (() => string)[]): string {
  for (const check of checks) {
    const found = check();
    if (found) return found;
  }
  return "";
}

function isObject(value: Tree): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
