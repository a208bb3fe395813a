package main

import (
	"encoding/binary"
	"net/url"
	"time"

	"golang.org/x/net/http2/hpack"
)

// A message of gRPC on the wire: one byte that says that it is not compressed, four with its length, itself.
const prefix = 5

func framed(message []byte) []byte {
	made := make([]byte, prefix, prefix+len(message))
	binary.BigEndian.PutUint32(made[1:], uint32(len(message)))
	return append(made, message...)
}

func framedLength(body []byte) int { return prefix + int(binary.BigEndian.Uint32(body[1:])) }

// call is one RPC: what is sent, and what has come back so far. It is its connection's until it is done.
type call struct {
	customer string
	meant    time.Time            // When it was meant to be sent.
	sent     time.Time            // When it was.
	received func(message []byte) // Called for each message of a stream; nil: the only message is kept.
	done     func(*call)          // Called once, when it has ended.

	whole    []byte      // What was to be sent, for another try.
	refused  int         // How often the service has refused it.
	on       *connection // Where it is under way.
	id       uint32
	window   int32  // Bytes that the service still takes for this call.
	unsent   []byte // What is still to be sent,
	open     bool   // and whether more will follow.
	consumed uint32 // Bytes that came since more were granted.

	http, status, message, tier string
	body                        []byte
}

// header takes in a field of the headers or trailers.
func (c *call) header(field hpack.HeaderField) {
	switch field.Name {
	case ":status":
		c.http = field.Value
	case "grpc-status":
		c.status = codeOf(field.Value)
	case "grpc-message":
		c.message = field.Value
		if plain, err := url.PathUnescape(field.Value); err == nil {
			c.message = plain
		}
	case "forecast-cache":
		c.tier = field.Value
	}
}

// deliver passes on the messages of a stream that are complete.
func (c *call) deliver() {
	if c.received == nil {
		return
	}
	rest := c.body
	for len(rest) >= prefix && len(rest) >= framedLength(rest) {
		end := framedLength(rest)
		c.received(rest[prefix:end])
		rest = rest[end:]
	}
	c.body = append(c.body[:0], rest...)
}

// settle makes up its mind where the trailers have said nothing, or something else than the body.
func (c *call) settle() {
	switch {
	case c.status == "" && c.http != "200":
		c.fail(codeOfHTTP(c.http), "HTTP status "+c.http)
	case c.status == "":
		c.fail(unknown, "the answer ended without a status")
	case c.status == okay && c.received == nil && (len(c.body) < prefix || len(c.body) != framedLength(c.body)):
		c.fail(internal, "the answer is not one whole message")
	}
}

func (c *call) fail(code, message string) { c.status, c.message = code, message }

// reply is the message that came back with a call that has ended well.
func (c *call) reply() []byte { return c.body[min(prefix, len(c.body)):] }
