package main

import (
	"math"
	"testing"
	"time"
)

// Every quantile is at or above the true one, and by at most 0.8 %.
func TestQuantilesAreWithinTheirBound(t *testing.T) {
	var h histogram
	const count = 100_000
	for i := 1; i <= count; i++ {
		h.add(time.Duration(i) * 137 * time.Nanosecond)
	}
	for _, share := range []float64{0.001, 0.5, 0.9, 0.99, 0.999, 1} {
		truth := time.Duration(int(share*(count-1))+1) * 137
		if got := h.quantile(share); got < truth || float64(got) > 1.008*float64(truth) {
			t.Errorf("quantile %g is %v, not %v", share, got, truth)
		}
	}
}

// Each duration lies in its bucket and in no other one.
func TestBucketsFollowEachOther(t *testing.T) {
	for bucket := range buckets - 1 {
		last := highest(bucket)
		if last == math.MaxInt64 {
			break // The longest duration that there is.
		}
		if bucketOf(last) != bucket || bucketOf(last+1) != bucket+1 {
			t.Fatalf("%d ends bucket %d, but is in %d, and the next in %d", last, bucket, bucketOf(last), bucketOf(last+1))
		}
	}
}

func TestAnEmptyHistogramHasNoLatencies(t *testing.T) {
	if got := (&histogram{}).latencies(); got != (latencies{}) {
		t.Errorf("got %+v", got)
	}
}
