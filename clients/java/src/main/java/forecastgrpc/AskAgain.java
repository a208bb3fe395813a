package forecastgrpc;

import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.ClientInterceptor;
import io.grpc.Context;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.MethodDescriptor.MethodType;
import io.grpc.Status;
import java.util.function.Supplier;

/**
 * Asks once more where an answer was cut off that had begun to come, as by a replica that dies. gRPC itself tries again
 * only what has not begun to be answered.
 */
final class AskAgain implements ClientInterceptor {
  @Override
  public <Q, A> ClientCall<Q, A> interceptCall(
      MethodDescriptor<Q, A> method, CallOptions options, Channel next) {
    boolean mayRepeat = !"ActivateModelVersion".equals(method.getBareMethodName());
    if (method.getType() != MethodType.UNARY || !mayRepeat) {
      return next.newCall(method, options);
    }
    // The deadline in the options is a point in time: both calls end with it.
    return new TwoCalls<>(() -> next.newCall(method, options));
  }

  /** One request that is sent again, one answer that goes to the caller when it is whole. */
  private static final class TwoCalls<Q, A> extends ClientCall<Q, A> {
    private final Supplier<ClientCall<Q, A>> calls;
    private final Context context = Context.current();
    private final Metadata headers = new Metadata();
    private ClientCall<Q, A> current;
    private Q request;
    private int asked;
    private boolean left;

    TwoCalls(Supplier<ClientCall<Q, A>> calls) {
      this.calls = calls;
      this.current = calls.get();
    }

    @Override
    public synchronized void start(Listener<A> caller, Metadata given) {
      headers.merge(given);
      current.start(new Whole(caller, true), given);
    }

    @Override
    public synchronized void request(int messages) {
      asked += messages;
      current.request(messages);
    }

    @Override
    public synchronized void sendMessage(Q message) {
      request = message;
      current.sendMessage(message);
    }

    @Override
    public synchronized void halfClose() {
      current.halfClose();
    }

    @Override
    public synchronized void cancel(String message, Throwable cause) {
      left = true;
      current.cancel(message, cause);
    }

    /** Whether the second call is on its way; not if the caller has left. */
    private synchronized boolean again(Listener<A> caller) {
      if (left || context.isCancelled()) {
        return false;
      }
      current = calls.get();
      current.start(new Whole(caller, false), headers);
      current.request(asked);
      current.sendMessage(request);
      current.halfClose();
      return true;
    }

    /** Keeps what comes until it is known to be all. */
    private final class Whole extends Listener<A> {
      private final Listener<A> caller;
      private final boolean first;
      private Metadata begun;
      private A answer;

      Whole(Listener<A> caller, boolean first) {
        this.caller = caller;
        this.first = first;
      }

      @Override
      public void onHeaders(Metadata received) {
        begun = received;
      }

      @Override
      public void onMessage(A message) {
        answer = message;
      }

      @Override
      public void onClose(Status status, Metadata trailers) {
        if (first && status.getCode() == Status.Code.CANCELLED && again(caller)) {
          return;
        }
        if (begun != null) {
          caller.onHeaders(begun);
        }
        if (answer != null) {
          caller.onMessage(answer);
        }
        caller.onClose(status, trailers);
      }

      @Override
      public void onReady() {
        caller.onReady();
      }
    }
  }
}
