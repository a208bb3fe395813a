package forecastgrpc;

import forecast.v1.Forecast.BatchForecastRequest;
import forecast.v1.Forecast.ForecastItem;
import forecast.v1.Forecast.ForecastRequest;
import forecast.v1.Forecast.ForecastResult;
import forecast.v1.ForecastServiceGrpc;
import forecast.v1.ForecastServiceGrpc.ForecastServiceBlockingStub;
import io.grpc.ManagedChannel;
import io.grpc.StatusRuntimeException;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;

/** Asks a forecast-grpc service for forecasts, or with ANYSCALE_TOKEN an Anyscale service. Argument: HOST:PORT. */
public final class Example {
  public static void main(String[] arguments) throws InterruptedException {
    String address = arguments.length > 0 ? arguments[0] : "127.0.0.1:9000";
    String token = System.getenv("ANYSCALE_TOKEN");
    ManagedChannel channel = (token == null ? Connections.to(address) : Connections.secureTo(address)).build();
    // Without a deadline a call may wait for ever; this one is for all that follows, retries included.
    ForecastServiceBlockingStub service =
        ForecastServiceGrpc.newBlockingStub(channel).withDeadlineAfter(10, TimeUnit.SECONDS);
    if (token != null) {
      service = service.withCallCredentials(Connections.bearer(token, System.getenv("ANYSCALE_APPLICATION")));
    }
    ForecastRequest request =
        ForecastRequest.newBuilder()
            .addAllSequenceData(List.of(100.0, 102.0, 98.0, 105.0, 110.0, 108.0, 112.0, 115.0, 118.0, 120.0))
            .setHorizon(3)
            .addAllQuantileLevels(List.of(0.1, 0.9))
            .build();
    var answer = Connections.forCustomer(service, "customer_123").forecast(request);
    System.out.println("one: " + answer.getCustomerId() + " " + answer.getForecastList());
    try {
      Connections.forCustomer(service, "nobody").forecast(request);
    } catch (StatusRuntimeException e) {
      CallError refused = CallError.of(e);
      System.out.println("refused: " + refused.reason() + " " + refused.message());
    }
    List<ForecastItem> items =
        Stream.of("customer_123", "customer_456", "nobody")
            .map(name -> ForecastItem.newBuilder().setTag(name).setCustomerId(name).setRequest(request).build())
            .toList();
    var batch = service.batchForecast(BatchForecastRequest.newBuilder().addAllItems(items).build());
    batch.getResultsList().forEach(result -> show("batch: ", result)); // in the order of the items
    ResultStream.of(channel, service.getCallOptions(), items.subList(0, 1)).forEachRemaining(r -> show("stream: ", r));
    channel.shutdown().awaitTermination(5, TimeUnit.SECONDS);
  }

  private static void show(String how, ForecastResult result) {
    System.out.println(how + result.getTag() + " " + result.getResponse().getForecastList() + result.getError().getReason());
  }
}
