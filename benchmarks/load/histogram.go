package main

import (
	"math/bits"
	"time"
)

// Buckets of a histogram grow with what they hold: below 2^precision nanoseconds one a nanosecond, above that
// 2^(precision-1) for each doubling. A value is known to within 2^(1-precision) of itself.
const (
	precision = 8
	buckets   = (64 - precision + 2) << (precision - 1)
)

// histogram counts durations in the manner of HdrHistogram: constant memory, any quantile to within 0.8 %.
type histogram struct {
	counts [buckets]uint32
	total  uint64
	sum    time.Duration
	max    time.Duration
}

func bucketOf(value time.Duration) int {
	ns := uint64(max(value, 0))
	shift := max(bits.Len64(ns)-precision, 0)
	return shift<<(precision-1) + int(ns>>shift)
}

// highest is the largest duration that falls into a bucket.
func highest(bucket int) time.Duration {
	shift := max(bucket>>(precision-1)-1, 0)
	return time.Duration((uint64(bucket-shift<<(precision-1))+1)<<shift - 1)
}

func (h *histogram) add(value time.Duration) {
	h.counts[bucketOf(value)]++
	h.total++
	h.sum += value
	h.max = max(h.max, value)
}

// quantile is the duration that a share of all is not above; 0 where there is none.
func (h *histogram) quantile(share float64) time.Duration {
	if h.total == 0 {
		return 0
	}
	rank, seen := uint64(share*float64(h.total-1))+1, uint64(0)
	for bucket, count := range h.counts {
		if seen += uint64(count); seen >= rank {
			return min(highest(bucket), h.max)
		}
	}
	return h.max
}

// latencies is a histogram as it is printed, in milliseconds.
type latencies struct {
	Count uint64  `json:"count"`
	Mean  float64 `json:"mean"`
	P50   float64 `json:"p50"`
	P90   float64 `json:"p90"`
	P99   float64 `json:"p99"`
	P999  float64 `json:"p99_9"`
	Max   float64 `json:"max"`
}

func (h *histogram) latencies() latencies {
	if h.total == 0 {
		return latencies{}
	}
	return latencies{
		Count: h.total,
		Mean:  milliseconds(h.sum) / float64(h.total),
		P50:   milliseconds(h.quantile(0.5)),
		P90:   milliseconds(h.quantile(0.9)),
		P99:   milliseconds(h.quantile(0.99)),
		P999:  milliseconds(h.quantile(0.999)),
		Max:   milliseconds(h.max),
	}
}

func milliseconds(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }
