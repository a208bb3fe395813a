package main

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc/stats"
)

// tally is what became of the calls so far. As a stats.Handler it sees each attempt of a call.
type tally struct {
	mutex    sync.Mutex
	Calls    int            `json:"calls"`
	Attempts int            `json:"attempts"`
	Failures map[string]int `json:"failures"`
	SlowestS float64        `json:"slowest_s"`
}

func (t *tally) add(took time.Duration, err error) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.Calls++
	t.SlowestS = max(t.SlowestS, took.Seconds())
	if err != nil {
		t.Failures[err.Error()]++
	}
}

// HandleRPC counts the attempts that have ended.
func (t *tally) HandleRPC(_ context.Context, event stats.RPCStats) {
	if _, ended := event.(*stats.End); ended {
		t.mutex.Lock()
		defer t.mutex.Unlock()
		t.Attempts++
	}
}

func (*tally) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context   { return ctx }
func (*tally) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (*tally) HandleConn(context.Context, stats.ConnStats)                       {}
