/** Calls a forecast-grpc service: with its retry policy, and with errors that a program can read. */
import { readFileSync } from "node:fs";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type {
  DescMessage,
  DescMethod,
  DescMethodBiDiStreaming,
  DescMethodUnary,
  MessageInitShape,
  MessageShape,
} from "@bufbuild/protobuf";
import * as grpc from "@grpc/grpc-js";
import { ForecastError } from "./errors.js";

export { ForecastError } from "./errors.js";
export * from "./gen/forecast/v1/error_reason_pb.js";
export * from "./gen/forecast/v1/forecast_pb.js";
export * from "./gen/forecast/v1/model_pb.js";

/** gRPC's own limits, 4 MiB for an answer and 1 MiB for what can be sent again, are below what a batch can need. */
const MAX_MESSAGE_BYTES = 64 * 2 ** 20;

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
  unary<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
    options: CallOptions = {},
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

  /** Requests as long as there are some, and each answer as it comes. Throws ForecastError. */
  async *stream<I extends DescMessage, O extends DescMessage>(
    method: DescMethodBiDiStreaming<I, O>,
    requests: AsyncIterable<MessageInitShape<I>> | Iterable<MessageInitShape<I>>,
    options: CallOptions = {},
  ): AsyncGenerator<MessageShape<O>> {
    const call = this.#client.makeBidiStreamRequest(
      path(method),
      encoder(method.input),
      decoder(method.output),
      callMetadata(options),
      callOptions(options),
    );
    const sending = send(call, method.input, requests).catch((error: Error) => call.destroy(error));
    try {
      yield* call as AsyncIterable<MessageShape<O>>;
      await sending;
    } catch (error) {
      throw ForecastError.of(error);
    } finally {
      call.cancel();
    }
  }

  /** Ends the connection. */
  close(): void {
    this.#client.close();
  }
}

async function send<I extends DescMessage>(
  call: grpc.ClientWritableStream<MessageShape<I>>,
  schema: I,
  requests: AsyncIterable<MessageInitShape<I>> | Iterable<MessageInitShape<I>>,
): Promise<void> {
  for await (const request of requests) {
    // Where the service reads no further, neither do we: it waits for its answers to be read.
    if (!call.write(create(schema, request))) await new Promise((resolve) => call.once("drain", resolve));
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
