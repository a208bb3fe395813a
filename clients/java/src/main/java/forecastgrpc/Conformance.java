package forecastgrpc;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import com.google.protobuf.util.JsonFormat;
import forecast.v1.Forecast.ForecastRequest;
import forecast.v1.ForecastServiceGrpc;
import forecast.v1.ModelServiceGrpc;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientInterceptors;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.ServiceDescriptor;
import io.grpc.StatusException;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.BlockingClientCall;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.MetadataUtils;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;

/**
 * Runs the cases of clients/cases.json and prints a line for each: group, name, and what was other than it should be.
 * clients/README.md says how the cases are to be read. Arguments: HOST:PORT, the service as the cases call it, the file.
 */
public final class Conformance {
  private static final List<ServiceDescriptor> SERVICES =
      List.of(ForecastServiceGrpc.getServiceDescriptor(), ModelServiceGrpc.getServiceDescriptor());

  private final Channel channel;

  private Conformance(Channel channel) {
    this.channel = channel;
  }

  public static void main(String[] arguments) throws IOException, InterruptedException {
    // A retry would hide what the service says.
    ManagedChannel channel = Connections.to(arguments[0]).disableRetry().build();
    Conformance conformance = new Conformance(channel);
    PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
    boolean failed = false;
    for (Cases.Case each : Cases.read(Path.of(arguments[2]))) {
      if (each.service().equals(arguments[1]) && !each.only().equals("http")) {
        String problem = conformance.run(each);
        failed |= !problem.isEmpty();
        out.println(String.join("\t", each.group(), each.name(), problem.replaceAll("\\s+", " ")));
      }
    }
    channel.shutdownNow().awaitTermination(10, TimeUnit.SECONDS);
    System.exit(failed ? 1 : 0);
  }

  /** Makes the call of a case and says what is wrong with what came. */
  private String run(Cases.Case each) throws InvalidProtocolBufferException {
    MethodDescriptor<Message, Message> method = method(each.rpc());
    AtomicReference<Metadata> headers = new AtomicReference<>();
    AtomicReference<Metadata> trailers = new AtomicReference<>(new Metadata());
    Channel prepared =
        ClientInterceptors.intercept(
            channel,
            Connections.metadata(each.metadata()),
            MetadataUtils.newCaptureMetadataInterceptor(headers, trailers));
    CallOptions options = CallOptions.DEFAULT.withDeadlineAfter(60, TimeUnit.SECONDS);
    try {
      JsonObject got =
          each.requests() == null
              ? tree(ClientCalls.blockingUnaryCall(prepared, method, options, request(method, each.request())))
              : streamed(prepared, method, options, each.requests());
      each.ignore().forEach(got::remove);
      return trailingProblem(each, trailers.get()) + Cases.difference("reply", each.reply(), got);
    } catch (StatusRuntimeException e) {
      JsonObject got = tree(CallError.of(e), each);
      return trailingProblem(each, trailers.get()) + Cases.difference("error", each.error(), got);
    }
  }

  /** The results of a stream as one answer, in the order of their tags. */
  private static JsonObject streamed(
      Channel channel, MethodDescriptor<Message, Message> method, CallOptions options, JsonArray requests)
      throws InvalidProtocolBufferException {
    BlockingClientCall<Message, Message> call = ClientCalls.blockingBidiStreamingCall(channel, method, options);
    List<JsonElement> results = new ArrayList<>();
    try {
      for (JsonElement request : requests) {
        call.write(request(method, request));
      }
      call.halfClose();
      for (Message message = call.read(); message != null; message = call.read()) {
        tree(message).getAsJsonArray("results").forEach(results::add);
      }
    } catch (StatusException e) {
      throw e.getStatus().asRuntimeException(e.getTrailers());
    } catch (InterruptedException e) {
      throw new IllegalStateException(e);
    }
    results.sort(Comparator.comparing(result -> result.getAsJsonObject().get("tag").getAsString()));
    JsonArray sorted = new JsonArray();
    results.forEach(sorted::add);
    JsonObject merged = new JsonObject();
    merged.add("results", sorted);
    return merged;
  }

  @SuppressWarnings("unchecked")
  private static MethodDescriptor<Message, Message> method(String rpc) {
    return (MethodDescriptor<Message, Message>)
        SERVICES.stream()
            .flatMap(service -> service.getMethods().stream())
            .filter(method -> method.getFullMethodName().equals("forecast.v1." + rpc))
            .findFirst()
            .orElseThrow();
  }

  private static Message request(MethodDescriptor<Message, Message> method, JsonElement written)
      throws InvalidProtocolBufferException {
    var marshaller = (MethodDescriptor.PrototypeMarshaller<Message>) method.getRequestMarshaller();
    Message.Builder builder = marshaller.getMessagePrototype().newBuilderForType();
    JsonFormat.parser().merge(written.toString(), builder);
    if (builder instanceof ForecastRequest.Builder request && written.getAsJsonObject().has("sequence_data")) {
      // JsonFormat reads numbers by way of BigDecimal, which knows no minus zero.
      request.clearSequenceData();
      JsonArray values = written.getAsJsonObject().getAsJsonArray("sequence_data");
      values.forEach(value -> request.addSequenceData(Double.parseDouble(value.getAsString())));
    }
    return builder.build();
  }

  private static JsonObject tree(Message message) throws InvalidProtocolBufferException {
    return JsonParser.parseString(JsonFormat.printer().preservingProtoFieldNames().print(message)).getAsJsonObject();
  }

  /** An error as the cases write it. */
  private static JsonObject tree(CallError error, Cases.Case each) {
    JsonObject tree = new JsonObject();
    tree.addProperty("code", error.code().name());
    tree.addProperty("reason", error.reason());
    if (!error.metadata().isEmpty()) {
      JsonObject metadata = new JsonObject();
      error.metadata().forEach(metadata::addProperty);
      tree.add("metadata", metadata);
    }
    if (!error.fields().isEmpty()) {
      JsonArray fields = new JsonArray();
      error.fields().forEach(violation -> fields.add(violation.getField()));
      tree.add("fields", fields);
    }
    error.retryAfter().ifPresent(after -> tree.addProperty("retry_after_s", after.toNanos() / 1e9));
    if (each.error() != null && each.error().getAsJsonObject().has("message")) {
      tree.addProperty("message", error.message());
    }
    return tree;
  }

  private static String trailingProblem(Cases.Case each, Metadata trailing) {
    for (String name : List.of("request_id", "forecast-replica")) {
      if (trailing.get(Connections.key(name)) == null) {
        return "there is no trailing " + name + "; ";
      }
    }
    for (var wanted : each.trailing().entrySet()) {
      String got = trailing.get(Connections.key(wanted.getKey()));
      if (!wanted.getValue().equals(got)) {
        return "trailing " + wanted.getKey() + ": " + got + " instead of " + wanted.getValue() + "; ";
      }
    }
    return "";
  }
}
