// A slow user of two streams: see tests/clients/test_streams.py.
import { setTimeout } from "node:timers/promises";
import { Channel, ForecastService } from "./client.js";

const channel = new Channel(process.argv[2]);
const request = { sequenceData: Array(100).fill(0), horizon: 1 };
let [sent, taken, most] = [0, 0, 0];

/** n messages of an item, and `full` with the first that has to wait, `ended` when the sender wants no more. */
function asked(n) {
  const found = {};
  found.full = new Promise((resolve) => (found.fill = resolve));
  found.ended = new Promise((resolve) => (found.end = resolve));
  found.messages = (function* () {
    try {
      for (let i = 0; i < n; i++) {
        most = Math.max(most, ++sent - taken);
        if (i === 500) found.fill();
        yield { items: [{ tag: `${i}`, customerId: "weekly", request }] };
      }
    } finally {
      found.end();
    }
  })();
  return found;
}

const all = asked(5000);
for await (const { results } of channel.stream(ForecastService.method.streamForecast, all.messages)) {
  if (results.some(({ outcome }) => outcome.case !== "response")) throw new Error("no forecast");
  if (taken === 0) {
    await all.full;
    await setTimeout(2000);
  }
  taken += results.length;
}
await all.ended;
console.log(taken, most);

const endless = asked(1_000_000);
for await (const _ of channel.stream(ForecastService.method.streamForecast, endless.messages)) {
  await endless.full;
  break;
}
await endless.ended;
console.log("ended");
channel.close();
