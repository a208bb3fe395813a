package main

import (
	"sync"
	"time"
)

// second is what came in one second of the run.
type second struct {
	ok, failed uint32
	answered   histogram
}

// recorder counts the answers. All goroutines share it: a lock for a fraction of a microsecond each is not what limits.
type recorder struct {
	start, end time.Time // The rate counts what is answered between them; end may be zero: then all.

	mu       sync.Mutex
	outcomes map[string]uint64
	messages map[string]string
	inTime   uint64
	bytes    uint64
	last     time.Time
	ok       histogram
	failed   histogram
	late     histogram
	tiers    map[string]*histogram
	seconds  []*second
}

func newRecorder(start, end time.Time) *recorder {
	return &recorder{
		start: start, end: end,
		outcomes: map[string]uint64{}, messages: map[string]string{}, tiers: map[string]*histogram{},
	}
}

// answer is what became of one request.
type answer struct {
	outcome string // The gRPC code's name, or WRONG.
	message string // The error's.
	tier    string // Of the trailing metadata, if it was asked for.
	bytes   int
}

// add counts a request that was meant to be sent at one time, was sent at another, and was answered at a third.
func (r *recorder) add(meant, sent, answered time.Time, a answer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	took := answered.Sub(meant)
	r.outcomes[a.outcome]++
	r.bytes += uint64(a.bytes)
	r.late.add(sent.Sub(meant))
	if answered.After(r.last) {
		r.last = answered
	}
	second := r.second(answered)
	if a.outcome != okay {
		second.failed++
		r.failed.add(took)
		if _, known := r.messages[a.outcome]; !known {
			r.messages[a.outcome] = a.message
		}
		return
	}
	second.ok++
	second.answered.add(took)
	r.ok.add(took)
	if r.end.IsZero() || !answered.After(r.end) {
		r.inTime++
	}
	if a.tier != "" {
		r.tier(a.tier).add(took)
	}
}

func (r *recorder) second(at time.Time) *second {
	number := int(at.Sub(r.start) / time.Second)
	for len(r.seconds) <= number {
		r.seconds = append(r.seconds, &second{})
	}
	return r.seconds[number]
}

func (r *recorder) tier(name string) *histogram {
	if r.tiers[name] == nil {
		r.tiers[name] = &histogram{}
	}
	return r.tiers[name]
}
