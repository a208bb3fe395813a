import forecast.v1.Forecast.ForecastItem;
import forecast.v1.Forecast.ForecastRequest;
import forecastgrpc.Connections;
import forecastgrpc.ResultStream;
import io.grpc.CallOptions;
import io.grpc.ManagedChannel;
import java.util.Collections;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicLong;
import java.util.stream.IntStream;

/** A slow user of two streams: see tests/clients/test_streams.py. */
public final class Slow {
  private static final ForecastRequest REQUEST =
      ForecastRequest.newBuilder().addAllSequenceData(Collections.nCopies(100, 0.0)).setHorizon(1).build();
  private static final AtomicLong SENT = new AtomicLong();
  private static final AtomicLong TAKEN = new AtomicLong();
  private static final AtomicLong MOST = new AtomicLong();
  private static volatile Thread sender;

  /** n items; counts down with the first that has to wait. */
  private static Iterable<ForecastItem> items(int n, CountDownLatch full) {
    return () -> IntStream.range(0, n).mapToObj(i -> item(i, full)).iterator();
  }

  private static ForecastItem item(int i, CountDownLatch full) {
    sender = Thread.currentThread();
    long pending = SENT.incrementAndGet() - TAKEN.get();
    MOST.accumulateAndGet(pending, Math::max);
    if (i == 500) {
      full.countDown();
    }
    return ForecastItem.newBuilder().setTag("" + i).setCustomerId("weekly").setRequest(REQUEST).build();
  }

  public static void main(String[] arguments) throws InterruptedException {
    ManagedChannel channel = Connections.to(arguments[0]).build();
    CountDownLatch full = new CountDownLatch(1);
    try (ResultStream results = ResultStream.of(channel, CallOptions.DEFAULT, items(5000, full))) {
      while (results.hasNext()) {
        if (!results.next().hasResponse()) {
          throw new IllegalStateException("no forecast");
        }
        if (TAKEN.incrementAndGet() == 1) {
          full.await();
          Thread.sleep(2000);
        }
      }
    }
    sender.join();
    System.out.println(TAKEN.get() + " " + MOST.get());

    CountDownLatch again = new CountDownLatch(1);
    try (ResultStream results = ResultStream.of(channel, CallOptions.DEFAULT, items(1_000_000, again))) {
      results.next();
      again.await();
    }
    sender.join();
    System.out.println("ended");
    channel.shutdownNow();
  }
}
