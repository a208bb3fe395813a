import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { fromBinary } from "@bufbuild/protobuf";
import * as grpc from "@grpc/grpc-js";
import type { BadRequest_FieldViolation } from "./gen/google/rpc/error_details_pb.js";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "./gen/google/rpc/error_details_pb.js";
import { StatusSchema } from "./gen/google/rpc/status_pb.js";

/** What a failed call says. */
export class ForecastError extends Error {
  override readonly name = "ForecastError";
  /** For programs: a name of `ErrorReason` without its prefix; empty where the service itself says nothing. */
  reason = "";
  /** Facts for programs. */
  details: Record<string, string> = {};
  /** The fields of the request that are at fault. */
  fields: BadRequest_FieldViolation[] = [];
  /** When a retry may succeed; undefined where the service does not say. */
  retryAfterMs: number | undefined;

  /** `code` is the status, `metadata` the trailing metadata. */
  constructor(
    readonly code: grpc.status,
    message: string,
    readonly metadata: grpc.Metadata,
  ) {
    super(message);
    for (const status of metadata.get("grpc-status-details-bin")) this.#read(status as Buffer);
  }

  /** The error of a call; any other error as it is. */
  static of(error: unknown): unknown {
    if (!(error instanceof Error && "code" in error && "metadata" in error)) return error;
    const { code, details, metadata } = error as grpc.ServiceError;
    return new ForecastError(code, details, metadata);
  }

  #read(status: Buffer): void {
    for (const detail of fromBinary(StatusSchema, status).details) {
      const info = anyUnpack(detail, ErrorInfoSchema);
      if (info) [this.reason, this.details] = [info.reason, info.metadata];
      this.fields.push(...(anyUnpack(detail, BadRequestSchema)?.fieldViolations ?? []));
      const delay = anyUnpack(detail, RetryInfoSchema)?.retryDelay;
      if (delay) this.retryAfterMs = Number(delay.seconds) * 1e3 + delay.nanos / 1e6;
    }
  }
}
