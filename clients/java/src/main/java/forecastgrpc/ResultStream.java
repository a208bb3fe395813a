package forecastgrpc;

import forecast.v1.Forecast.ForecastItem;
import forecast.v1.Forecast.ForecastResult;
import forecast.v1.Forecast.StreamForecastRequest;
import forecast.v1.Forecast.StreamForecastResponse;
import forecast.v1.ForecastServiceGrpc;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.StatusException;
import io.grpc.stub.BlockingClientCall;
import io.grpc.stub.ClientCalls;
import java.util.Collections;
import java.util.Iterator;
import java.util.NoSuchElementException;
import java.util.concurrent.Semaphore;

/** The results of items that are sent over one stream, each as it comes, in no order. */
public final class ResultStream implements Iterator<ForecastResult>, AutoCloseable {
  /**
   * Items whose results have not been taken. A proxy on the way may hold back that results were taken, behind items
   * that it cannot pass on. With more of them than the service reads while results wait (1,000 items, 5,000,000 values)
   * both sides would stand still for ever. 500 of the longest sequence, 10,000 values, stay within both.
   */
  private static final int MAX_PENDING = 500;

  private final Semaphore places = new Semaphore(MAX_PENDING);
  private final BlockingClientCall<StreamForecastRequest, StreamForecastResponse> call;
  private Iterator<ForecastResult> ready = Collections.emptyIterator();
  private boolean given;

  private ResultStream(BlockingClientCall<StreamForecastRequest, StreamForecastResponse> call) {
    this.call = call;
  }

  /** Sends the items in a thread of its own, as long as there are at most 500 whose results have not been taken. */
  public static ResultStream of(Channel channel, CallOptions options, Iterable<ForecastItem> items) {
    ResultStream results =
        new ResultStream(
            ClientCalls.blockingBidiStreamingCall(
                channel, ForecastServiceGrpc.getStreamForecastMethod(), options));
    Thread sender = new Thread(() -> results.send(items), "forecast-items");
    sender.setDaemon(true);
    sender.start();
    return results;
  }

  private void send(Iterable<ForecastItem> items) {
    try {
      for (ForecastItem item : items) {
        places.acquire();
        if (!call.write(StreamForecastRequest.newBuilder().addItems(item).build())) {
          return; // The call is over, and whoever reads has been told.
        }
      }
      call.halfClose();
    } catch (StatusException e) {
      call.cancel("no more items can be sent", e);
    } catch (InterruptedException e) {
      call.cancel("interrupted", e);
      Thread.currentThread().interrupt();
    }
  }

  /** Waits for the next result. Throws StatusRuntimeException where the stream has failed: see {@link CallError}. */
  @Override
  public boolean hasNext() {
    if (given) {
      given = false;
      places.release(); // Whoever asks for the next result has taken this one.
    }
    try {
      while (!ready.hasNext()) {
        StreamForecastResponse message = call.read();
        if (message == null) {
          close();
          return false;
        }
        ready = message.getResultsList().iterator();
      }
      return true;
    } catch (StatusException e) {
      close();
      throw e.getStatus().asRuntimeException(e.getTrailers());
    } catch (InterruptedException e) {
      close();
      Thread.currentThread().interrupt();
      return false;
    }
  }

  @Override
  public ForecastResult next() {
    if (!hasNext()) {
      throw new NoSuchElementException();
    }
    given = true;
    return ready.next();
  }

  /** Ends the stream before its end; at its end it does nothing. */
  @Override
  public void close() {
    call.cancel("closed", null);
    places.release(); // The sender, who may wait for a place, finds that the call is over.
  }
}
