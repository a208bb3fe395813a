package main

import "time"

// result is what is printed.
type result struct {
	Settings        options              `json:"settings"`
	Loop            string               `json:"loop"`
	Seconds         float64              `json:"seconds"`
	Requests        uint64               `json:"requests"`
	RequestsPerS    float64              `json:"requests_per_s"`
	ForecastsPerS   float64              `json:"forecasts_per_s"`
	Outcomes        map[string]uint64    `json:"outcomes"`
	Messages        map[string]string    `json:"messages,omitempty"`
	LatencyMs       latencies            `json:"latency_ms"`
	FailedLatencyMs *latencies           `json:"failed_latency_ms,omitempty"`
	LatencyByTierMs map[string]latencies `json:"latency_by_tier_ms,omitempty"`
	LatenessMs      *latencies           `json:"lateness_ms,omitempty"`
	ReceivedBytes   uint64               `json:"received_bytes"`
	ClientCPUs      float64              `json:"client_cpu_s"`
	Series          []point              `json:"series"`
	Storm           *result              `json:"storm,omitempty"`
}

// point is one second of the run.
type point struct {
	Second int     `json:"second"`
	OK     uint32  `json:"ok"`
	Failed uint32  `json:"failed"`
	P50Ms  float64 `json:"p50_ms"`
	P99Ms  float64 `json:"p99_ms"`
	MaxMs  float64 `json:"max_ms"`
}

// result sums up what was recorded. Rates are of right answers within the time of the run; of a run bounded by
// requests up to its last answer.
func (r *recorder) result(loop string) *result {
	end := r.end
	if end.IsZero() {
		end = r.last
	}
	seconds := end.Sub(r.start).Seconds()
	made := &result{
		Loop: loop, Seconds: seconds, Outcomes: r.outcomes, Messages: r.messages, LatencyMs: r.ok.latencies(),
		ReceivedBytes: r.bytes, Series: r.series(),
	}
	for _, count := range r.outcomes {
		made.Requests += count
	}
	if seconds > 0 {
		made.RequestsPerS = float64(r.inTime) / seconds
	}
	if r.failed.total > 0 {
		failed := r.failed.latencies()
		made.FailedLatencyMs = &failed
	}
	if loop == "open" {
		late := r.late.latencies()
		made.LatenessMs = &late
	}
	for name, of := range r.tiers {
		if made.LatencyByTierMs == nil {
			made.LatencyByTierMs = map[string]latencies{}
		}
		made.LatencyByTierMs[name] = of.latencies()
	}
	return made
}

func (r *recorder) series() []point {
	points := make([]point, 0, len(r.seconds))
	for number, of := range r.seconds {
		points = append(points, point{
			Second: number, OK: of.ok, Failed: of.failed,
			P50Ms: milliseconds(of.answered.quantile(0.5)), P99Ms: milliseconds(of.answered.quantile(0.99)),
			MaxMs: milliseconds(of.answered.max),
		})
	}
	return points
}

func since(start time.Duration) float64 { return (processorTime() - start).Seconds() }
