/** Calls a forecast-grpc service: with its retry policy, and with errors that a program can read. */
import { readFileSync } from "node:fs";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { DescMessage, DescMethod, DescMethodUnary, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import * as grpc from "@grpc/grpc-js";
import { ForecastError } from "./errors.js";
import { StreamForecastRequestSchema } from "./gen/forecast/v1/forecast_pb.js";
import type { ForecastService, StreamForecastRequest, StreamForecastResponse } from "./gen/forecast/v1/forecast_pb.js";

export { ForecastError } from "./errors.js";
export * from "./gen/forecast/v1/error_reason_pb.js";
export * from "./gen/forecast/v1/forecast_pb.js";
export * from "./gen/forecast/v1/model_pb.js";

/** gRPC's own limits, 4 MiB for an answer and 1 MiB for what can be sent again, are below what a batch can need. */
const MAX_MESSAGE_BYTES = 64 * 2 ** 20;

/**
 * Items of a stream whose results have not been taken. A proxy on the way may hold back that results were taken, behind
 * items that it cannot pass on. With more of them than the service reads while results wait (1,000 items, 5,000,000
 * values) both sides would stand still for ever. 500 of the longest sequence, 10,000 values, stay within both.
 */
const MAX_PENDING = 500;

const DEFAULTS: grpc.ChannelOptions = {
  "grpc.service_config": readFileSync(new URL("../service_config.json", import.meta.url), "utf8"),
  "grpc.max_receive_message_length": MAX_MESSAGE_BYTES,
  "grpc-node.per_rpc_retry_buffer_size": MAX_MESSAGE_BYTES,
};

/** What goes with a call beside its request. */
export interface CallOptions {
  /** The customer whose model is to answer. */
  customer?: string;
  /** How long the call may take, its retries included. Without it the policy's own limit holds. */
  timeoutMs?: number;
  /** More request metadata, such as a `request_id` of your own. */
  metadata?: Record<string, string>;
}

/** An answer, and where it came from. */
export interface Answer<T> {
  message: T;
  /** `request_id`, `forecast-replica` and `forecast-cache`. */
  trailing: Record<string, string>;
}

/** A connection for all calls; close it at the end. */
export class Channel {
  readonly #client: grpc.Client;

  /** To HOST:PORT; without credentials without TLS. `options` come before the channel's own. */
  constructor(address: string, credentials?: grpc.ChannelCredentials, options: grpc.ChannelOptions = {}) {
    const secured = credentials ?? grpc.credentials.createInsecure();
    this.#client = new grpc.Client(address, secured, { ...DEFAULTS, ...options });
  }

  /** To an Anyscale service: TLS, its bearer token, and the Serve application's name where it runs several. */
  static anyscale(host: string, token: string, application?: string): Channel {
    const fixed = { authorization: `Bearer ${token}`, ...(application && { application }) };
    // gRPC sends these over no channel without TLS.
    const each = grpc.credentials.createFromMetadataGenerator((_, done) => done(null, toMetadata(fixed)));
    return new Channel(host, grpc.credentials.combineChannelCredentials(grpc.credentials.createSsl(), each));
  }

  /** One request, one answer: `channel.unary(ForecastService.method.forecast, {…})`. Throws ForecastError. */
  async unary<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
    options: CallOptions = {},
  ): Promise<Answer<MessageShape<O>>> {
    const started = Date.now();
    try {
      return await this.#ask(method, request, options);
    } catch (error) {
      // An answer was cut off that had begun to come, as by a replica that dies: gRPC itself tries again only what has
      // not begun to be answered.
      const cutOff = error instanceof ForecastError && error.code === grpc.status.CANCELLED;
      if (!cutOff || method.name === "ActivateModelVersion") throw error;
      const { timeoutMs } = options;
      const left = timeoutMs === undefined ? {} : { timeoutMs: timeoutMs - (Date.now() - started) };
      return this.#ask(method, request, { ...options, ...left });
    }
  }

  #ask<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
    options: CallOptions,
  ): Promise<Answer<MessageShape<O>>> {
    return new Promise((resolve, reject) => {
      let message: MessageShape<O>;
      const call = this.#client.makeUnaryRequest(
        path(method),
        encoder(method.input),
        decoder(method.output),
        create(method.input, request),
        callMetadata(options),
        callOptions(options),
        (error, answer) => (error ? reject(ForecastError.of(error)) : (message = answer!)),
      );
      call.on("status", ({ metadata }) => resolve({ message, trailing: texts(metadata) }));
    });
  }

  /**
   * Requests as long as there are some, and each answer as it comes. Takes requests while there are at most 500 items
   * whose results you have not taken: who asks for the next answer has taken the last. Throws ForecastError.
   */
  async *stream(
    method: typeof ForecastService.method.streamForecast,
    requests: Requests,
    options: CallOptions = {},
  ): AsyncGenerator<StreamForecastResponse> {
    const call = this.#client.makeBidiStreamRequest(
      path(method),
      encoder(method.input),
      decoder(method.output),
      callMetadata(options),
      callOptions(options),
    );
    const places = new Places();
    const sending = send(call, requests, places).catch((error: Error) => call.destroy(error));
    try {
      for await (const answer of call as AsyncIterable<StreamForecastResponse>) {
        yield answer;
        places.free(answer.results.length);
      }
      places.end();
      await sending;
    } catch (error) {
      throw ForecastError.of(error);
    } finally {
      call.cancel();
      places.end();
    }
  }

  /** Ends the connection. */
  close(): void {
    this.#client.close();
  }
}

type StreamInit = MessageInitShape<typeof StreamForecastRequestSchema>;
type Requests = AsyncIterable<StreamInit> | Iterable<StreamInit>;

/** The places of the items that are under way. */
class Places {
  #left = MAX_PENDING;
  #ended = false;
  #wake = () => {};

  /** Waits for as many places, or for all where that is more than there are. Whether the stream goes on. */
  async take(count: number): Promise<boolean> {
    while (!this.#ended && this.#left < Math.min(count, MAX_PENDING)) {
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    this.#left -= count;
    return !this.#ended;
  }

  free(count: number): void {
    this.#left += count;
    this.#wake();
  }

  /** Wakes whoever waits: there are no more answers. */
  end(): void {
    this.#ended = true;
    this.#wake();
  }
}

async function send(
  call: grpc.ClientWritableStream<StreamForecastRequest>,
  requests: Requests,
  places: Places,
): Promise<void> {
  for await (const request of requests) {
    const message = create(StreamForecastRequestSchema, request);
    if (!(await places.take(message.items.length))) return;
    // Where the service reads no further, neither do we: it waits for its answers to be read.
    if (!call.write(message)) await new Promise((resolve) => call.once("drain", resolve));
  }
  call.end();
}

function path(method: DescMethod): string {
  return `/${method.parent.typeName}/${method.name}`;
}

function encoder<M extends DescMessage>(schema: M): (message: MessageShape<M>) => Buffer {
  return (message) => Buffer.from(toBinary(schema, message));
}

function decoder<M extends DescMessage>(schema: M): (bytes: Buffer) => MessageShape<M> {
  return (bytes) => fromBinary(schema, bytes);
}

function callOptions({ timeoutMs }: CallOptions): grpc.CallOptions {
  return timeoutMs === undefined ? {} : { deadline: Date.now() + timeoutMs };
}

function callMetadata({ customer, metadata }: CallOptions): grpc.Metadata {
  return toMetadata({ ...metadata, ...(customer !== undefined && { multiplexed_model_id: customer }) });
}

function toMetadata(fields: Record<string, string>): grpc.Metadata {
  const metadata = new grpc.Metadata();
  for (const [key, value] of Object.entries(fields)) metadata.set(key, value);
  return metadata;
}

/** The texts of trailing metadata: what is binary is for the errors. */
export function texts(metadata: grpc.Metadata): Record<string, string> {
  const pairs = Object.entries(metadata.getMap());
  return Object.fromEntries(pairs.filter((pair): pair is [string, string] => typeof pair[1] === "string"));
}
