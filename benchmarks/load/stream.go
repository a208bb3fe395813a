package main

import (
	"bytes"
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// Field numbers of forecast.v1.StreamForecastResponse and ForecastResult.
const (
	resultsField protowire.Number = 1
	errorField   protowire.Number = 3
)

const badItem = "FAILED_ITEM"

// stream is one call of StreamForecast with a number of messages under way on it.
type stream struct {
	run   *run
	items int
	call  *call
	sent  []time.Time // When the messages were that are not answered yet, the oldest first.
	got   int         // Results that have come for the oldest of them.
	bad   bool        // Whether one of those is an error.
}

// streams keeps messages under way on one stream for each connection: another is sent when as many results have come
// as one asks for. Results come in no order, so that the time of a message is that until as many have come as were
// asked for with it and before it.
func (r *run) streams(connections, inFlight, items int) {
	var all sync.WaitGroup
	for number := range connections {
		all.Add(1)
		s := &stream{run: r, items: items}
		now := time.Now()
		for len(s.sent) < inFlight && r.next(now) {
			s.sent = append(s.sent, now)
		}
		s.call = &call{
			customer: r.customers.next(r.random(number)), meant: now, open: len(s.sent) > 0,
			unsent: bytes.Repeat(r.caller.body, len(s.sent)), received: s.received,
			done: func(made *call) {
				s.ended(made)
				all.Done()
			},
		}
		r.caller.lane(number).send(s.call)
	}
	all.Wait()
}

// received counts a message's results, and sends as many messages as they complete.
func (s *stream) received(message []byte) {
	now, more := time.Now(), 0
	for len(message) > 0 {
		number, kind, length := protowire.ConsumeTag(message)
		size := protowire.ConsumeFieldValue(number, kind, message[max(length, 0):])
		if length < 0 || size < 0 {
			s.bad = true
			break
		}
		if number == resultsField {
			s.result(message[length:length+size], now)
			if s.got == 0 && s.run.next(now) {
				s.sent = append(s.sent, now)
				more++
			}
		}
		message = message[length+size:]
	}
	if more > 0 || len(s.sent) == 0 {
		s.call.on.more(s.call, bytes.Repeat(s.run.caller.body, more), len(s.sent) == 0)
	}
}

func (s *stream) result(field []byte, now time.Time) {
	result, _ := protowire.ConsumeBytes(field)
	s.bad = s.bad || has(result, errorField)
	if s.got++; s.got < s.items || len(s.sent) == 0 {
		return
	}
	outcome := answer{outcome: okay, bytes: len(field) * s.items}
	if s.bad {
		outcome = answer{outcome: badItem, message: "one of a message's results is an error"}
	}
	s.run.recorder.add(s.sent[0], s.sent[0], now, outcome)
	s.sent, s.got, s.bad = s.sent[1:], 0, false
}

func has(message []byte, wanted protowire.Number) bool {
	for len(message) > 0 {
		number, _, length := protowire.ConsumeField(message)
		if number == wanted {
			return true
		}
		if length < 0 {
			return true // Not a message at all.
		}
		message = message[length:]
	}
	return false
}

// ended counts the messages that were not answered.
func (s *stream) ended(made *call) {
	made.settle()
	code := made.status
	if code == okay {
		code = unknown
	}
	for _, sent := range s.sent {
		s.run.recorder.add(sent, sent, time.Now(), answer{outcome: code, message: made.message})
	}
}
