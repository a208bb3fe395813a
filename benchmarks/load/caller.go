package main

import (
	"bytes"
	"os"
)

// sender is a place for a connection.
type sender interface {
	connect() error
	send(*call)
	close()
}

// caller asks for forecasts.
type caller struct {
	lanes    []sender
	body     []byte // What every call sends.
	expected []byte // What every answer has to be; nil: anything.
	length   int    // How long it has to be; 0: any.
	tiers    bool   // Whether it matters which tier answered.
}

func newCaller(o options) (*caller, error) {
	request, err := newRequest(o)
	if err != nil {
		return nil, err
	}
	made := &caller{body: framed(request), length: o.ExpectBytes, tiers: o.Tiers}
	if o.ExpectFile != "" {
		if made.expected, err = os.ReadFile(o.ExpectFile); err != nil {
			return nil, err
		}
	}
	for of := newHeaders(o); len(made.lanes) < o.Connections; {
		if o.HTTP {
			made.lanes = append(made.lanes, newPipe(o))
		} else {
			made.lanes = append(made.lanes, &lane{options: o, headers: of})
		}
	}
	return made, nil
}

// connect makes all connections: what is measured is requests.
func (c *caller) connect() error {
	for _, lane := range c.lanes {
		if err := lane.connect(); err != nil {
			return err
		}
	}
	return nil
}

func (c *caller) close() {
	for _, lane := range c.lanes {
		lane.close()
	}
}

func (c *caller) lane(number int) sender { return c.lanes[number%len(c.lanes)] }

// judge is what became of a call that is done.
func (c *caller) judge(made *call) answer {
	reply := made.reply()
	judged := answer{outcome: made.status, message: made.message, bytes: len(reply)}
	if c.tiers {
		judged.tier = made.tier
	}
	if made.status != okay {
		return judged
	}
	if (c.expected != nil && !bytes.Equal(reply, c.expected)) || (c.length > 0 && len(reply) != c.length) {
		judged.outcome, judged.message = wrong, "an answer is not the expected one"
	}
	return judged
}
