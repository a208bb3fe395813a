package forecastgrpc;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.util.Durations;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import io.grpc.Status;
import io.grpc.protobuf.StatusProto;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * What a failed call says.
 *
 * @param code the status
 * @param message for people
 * @param reason for programs: a name of ErrorReason without its prefix, such as MODEL_NOT_FOUND; empty where the
 *     error does not come from the service itself
 * @param metadata facts for programs
 * @param fields those of the request that are at fault
 * @param retryAfter when a retry may succeed; empty where the service does not say
 */
public record CallError(
    Status.Code code,
    String message,
    String reason,
    Map<String, String> metadata,
    List<BadRequest.FieldViolation> fields,
    Optional<Duration> retryAfter) {

  /** Reads what a stub throws. */
  public static CallError of(Throwable thrown) {
    Status status = Status.fromThrowable(thrown);
    com.google.rpc.Status rich = StatusProto.fromThrowable(thrown);
    List<Any> details = rich == null ? List.of() : rich.getDetailsList();
    ErrorInfo info = ErrorInfo.getDefaultInstance();
    BadRequest bad = BadRequest.getDefaultInstance();
    Optional<Duration> retryAfter = Optional.empty();
    try {
      for (Any detail : details) {
        if (detail.is(ErrorInfo.class)) {
          info = detail.unpack(ErrorInfo.class);
        } else if (detail.is(BadRequest.class)) {
          bad = detail.unpack(BadRequest.class);
        } else if (detail.is(RetryInfo.class)) {
          long nanos = Durations.toNanos(detail.unpack(RetryInfo.class).getRetryDelay());
          retryAfter = Optional.of(Duration.ofNanos(nanos));
        }
      }
    } catch (InvalidProtocolBufferException e) {
      throw new IllegalStateException("The service sends details that are none.", e);
    }
    String message = status.getDescription() == null ? "" : status.getDescription();
    return new CallError(
        status.getCode(), message, info.getReason(), info.getMetadataMap(), bad.getFieldViolationsList(), retryAfter);
  }
}
