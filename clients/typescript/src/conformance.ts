/**
 * Runs the cases of clients/cases.json and prints a line for each: group, name, and what was other than it should be.
 * clients/README.md says how the cases are to be read.
 */
import { fromJson, toJson } from "@bufbuild/protobuf";
import type { DescMethod, DescMethodUnary, JsonValue, Message } from "@bufbuild/protobuf";
import * as grpc from "@grpc/grpc-js";
import { parseArgs } from "node:util";
import { difference, readCases } from "./cases.js";
import type { Case, Fields, Tree } from "./cases.js";
import { Channel, ForecastError, ForecastService, ModelService, texts } from "./client.js";

const TIMEOUT_MS = 60_000;
const SERVICES = { ForecastService, ModelService };

const {
  values,
  positionals: [file = "../cases.json"],
} = parseArgs({
  options: {
    address: { type: "string", default: "127.0.0.1:9000" },
    service: { type: "string", default: "standard" },
  },
  allowPositionals: true,
});
// A retry would hide what the service says.
const channel = new Channel(values.address, undefined, { "grpc.enable_retries": 0 });
for (const each of readCases(file)) {
  if ((each.service ?? "standard") !== values.service || each.only === "http") continue;
  const problem = await run(each);
  if (problem) process.exitCode = 1;
  console.log([each.group, each.name, problem.replaceAll(/\s+/g, " ")].join("\t"));
}
channel.close();

/** Makes the call of a case and says what is wrong with what came. */
async function run(each: Case): Promise<string> {
  const method = methodOf(each.rpc);
  const options = { metadata: each.metadata ?? {}, timeoutMs: TIMEOUT_MS };
  try {
    if (method.methodKind === "bidi_streaming") {
      const requests = (each.requests ?? []).map((request) => fromJson(method.input, request as JsonValue));
      return difference("reply", each.reply, await merged(method, channel.stream(method, requests, options)));
    }
    const request = fromJson(method.input, (each.request ?? {}) as JsonValue);
    const { message, trailing } = await channel.unary(method, request, options);
    const reply = toJson(method.output, message, { useProtoFieldName: true }) as Fields;
    for (const field of each.ignore ?? []) delete reply[field];
    return trailingProblem(each, trailing) || difference("reply", each.reply, reply);
  } catch (error) {
    if (!(error instanceof ForecastError)) throw error;
    return trailingProblem(each, texts(error.metadata)) || difference("error", each.error, asTree(error, each));
  }
}

/** The results of a stream as one answer, in the order of their tags. */
async function merged(method: DescMethod, answers: AsyncIterable<Message>): Promise<Tree> {
  const results: Fields[] = [];
  for await (const message of answers) {
    const answer = toJson(method.output, message, { useProtoFieldName: true }) as { results: Fields[] };
    results.push(...answer.results);
  }
  return { results: results.sort((a, b) => (a["tag"]! < b["tag"]! ? -1 : 1)) };
}

function methodOf(rpc: string): DescMethodUnary | typeof ForecastService.method.streamForecast {
  const [service, name] = rpc.split("/") as [keyof typeof SERVICES, string];
  const found = SERVICES[service].methods.find((method) => method.name === name);
  if (found?.methodKind !== "unary" && found?.methodKind !== "bidi_streaming") throw new Error(`no such method: ${rpc}`);
  return found as DescMethodUnary | typeof ForecastService.method.streamForecast;
}

function trailingProblem(each: Case, trailing: Record<string, string>): string {
  const missing = ["request_id", "forecast-replica"].find((key) => !trailing[key]);
  if (missing) return `there is no trailing ${missing}`;
  const wrong = Object.entries(each.trailing ?? {}).find(([key, value]) => trailing[key] !== value);
  return wrong ? `trailing ${wrong[0]}: ${trailing[wrong[0]]} instead of ${wrong[1]}` : "";
}

/** An error as the cases write it. */
function asTree(error: ForecastError, each: Case): Tree {
  return {
    code: grpc.status[error.code],
    reason: error.reason,
    ...(Object.keys(error.details).length && { metadata: error.details }),
    ...(error.fields.length && { fields: error.fields.map(({ field }) => field) }),
    ...(error.retryAfterMs !== undefined && { retry_after_s: error.retryAfterMs / 1e3 }),
    ...(each.error?.["message"] !== undefined && { message: error.message }),
  };
}
