/**
 * Asks a forecast-grpc service for forecasts: node dist/example.js [HOST:PORT]. With ANYSCALE_TOKEN in the environment
 * it calls an Anyscale service, with TLS and the token.
 */
import { Channel, ForecastError, ForecastService } from "./client.js";

const address = process.argv[2] ?? "127.0.0.1:9000";
const { ANYSCALE_TOKEN: token, ANYSCALE_APPLICATION: application } = process.env;
const channel = token ? Channel.anyscale(address, token, application) : new Channel(address); // with the retry policy
const { forecast, batchForecast, streamForecast } = ForecastService.method;

const sequenceData = [100, 102, 98, 105, 110, 108, 112, 115, 118, 120];
const request = { sequenceData, horizon: 3, quantileLevels: [0.1, 0.9] };
const timeoutMs = 10_000; // without a deadline a call may wait for ever; this one is for its retries too

const { message } = await channel.unary(forecast, request, { customer: "customer_123", timeoutMs });
console.log("one:", message.customerId, message.forecast);

try {
  await channel.unary(forecast, request, { customer: "nobody", timeoutMs });
} catch (error) {
  if (!(error instanceof ForecastError)) throw error;
  console.log("refused:", error.reason, error.message);
}

const items = ["customer_123", "customer_456", "nobody"].map((customerId) => ({ tag: customerId, customerId, request }));
const batch = await channel.unary(batchForecast, { items }, { timeoutMs });
for (const { tag, outcome } of batch.message.results) {
  console.log("batch:", tag, outcome.case === "response" ? outcome.value.forecast : outcome.value?.reason);
}

// Each result comes as soon as it is there, in no order.
for await (const { results } of channel.stream(streamForecast, [{ items: items.slice(0, 1) }], { timeoutMs })) {
  for (const { tag, outcome } of results) {
    console.log("stream:", tag, outcome.case === "response" ? outcome.value.forecast : outcome.value?.reason);
  }
}
channel.close();
