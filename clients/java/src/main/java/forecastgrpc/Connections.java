package forecastgrpc;

import com.google.gson.Gson;
import com.google.gson.reflect.TypeToken;
import io.grpc.CallCredentials;
import io.grpc.ClientInterceptor;
import io.grpc.ManagedChannelBuilder;
import io.grpc.Metadata;
import io.grpc.SecurityLevel;
import io.grpc.Status;
import io.grpc.stub.AbstractStub;
import io.grpc.stub.MetadataUtils;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.Reader;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.concurrent.Executor;

/** Connects to a forecast-grpc service, with its retry policy. */
public final class Connections {
  /** gRPC's own limits, 4 MiB for an answer and 1 MiB for what can be sent again, are below what a batch can need. */
  private static final int MAX_MESSAGE_BYTES = 64 << 20;

  private Connections() {}

  /** A channel to HOST:PORT without TLS, for all calls from any number of threads. Shut it down at the end. */
  public static ManagedChannelBuilder<?> to(String address) {
    return prepared(ManagedChannelBuilder.forTarget(address)).usePlaintext();
  }

  /** A channel to HOST or HOST:PORT with TLS, as an Anyscale service wants it: see {@link #bearer}. */
  public static ManagedChannelBuilder<?> secureTo(String address) {
    return prepared(ManagedChannelBuilder.forTarget(address)).useTransportSecurity();
  }

  private static ManagedChannelBuilder<?> prepared(ManagedChannelBuilder<?> builder) {
    return builder
        .defaultServiceConfig(retries())
        .intercept(new AskAgain())
        .maxInboundMessageSize(MAX_MESSAGE_BYTES)
        .perRpcBufferLimit(MAX_MESSAGE_BYTES)
        .retryBufferSize(4L * MAX_MESSAGE_BYTES);
  }

  /** For `stub.withCallCredentials`: the token, and the Serve application's name (null where there is only one). */
  public static CallCredentials bearer(String token, String application) {
    Metadata fixed = new Metadata();
    fixed.put(key("authorization"), "Bearer " + token);
    if (application != null) {
      fixed.put(key("application"), application);
    }
    return new CallCredentials() {
      @Override
      public void applyRequestMetadata(RequestInfo call, Executor executor, MetadataApplier applier) {
        if (call.getSecurityLevel() == SecurityLevel.PRIVACY_AND_INTEGRITY) {
          applier.apply(fixed);
        } else {
          applier.fail(Status.UNAUTHENTICATED.withDescription("The token goes over TLS only."));
        }
      }
    };
  }

  /** The stub whose calls are answered by this customer's model. */
  public static <S extends AbstractStub<S>> S forCustomer(S stub, String customer) {
    return stub.withInterceptors(metadata(Map.of("multiplexed_model_id", customer)));
  }

  /** Sends these with each call. */
  static ClientInterceptor metadata(Map<String, String> fields) {
    Metadata metadata = new Metadata();
    fields.forEach((name, value) -> metadata.put(key(name), value));
    return MetadataUtils.newAttachHeadersInterceptor(metadata);
  }

  /** The key of a text in metadata. */
  static Metadata.Key<String> key(String name) {
    return Metadata.Key.of(name, Metadata.ASCII_STRING_MARSHALLER);
  }

  private static Map<String, ?> retries() {
    try (Reader file =
        new InputStreamReader(
            Connections.class.getResourceAsStream("/service_config.json"), StandardCharsets.UTF_8)) {
      return new Gson().fromJson(file, new TypeToken<Map<String, Object>>() {});
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
