package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

// pipe is a connection of HTTP/1.1, for services that have no gRPC: one request at a time. It stands where a lane does.
type pipe struct {
	options options
	calls   chan *call
	socket  net.Conn
	reader  *bufio.Reader
}

func newPipe(o options) *pipe { return &pipe{options: o, calls: make(chan *call, o.MaxInFlight)} }

func (p *pipe) connect() error {
	if p.dial() != nil {
		return errSilent
	}
	go p.work()
	return nil
}

func (p *pipe) dial() error {
	socket, err := net.DialTimeout("tcp", p.options.Address, connectTimeout)
	if err == nil {
		p.socket, p.reader = socket, bufio.NewReader(socket)
	}
	return err
}

func (p *pipe) send(made *call) { p.calls <- made }

func (p *pipe) close() { close(p.calls) }

func (p *pipe) work() {
	for made := range p.calls {
		made.sent = time.Now()
		if err := p.exchange(made); err != nil {
			made.fail(silent, err.Error())
			_ = p.socket.Close()
			if p.dial() != nil {
				time.Sleep(pause)
			}
		}
		made.done(made)
	}
	_ = p.socket.Close()
}

// exchange sends a call and waits for its answer. What it returns is a connection that is of no more use.
func (p *pipe) exchange(made *call) error {
	if p.options.Timeout > 0 {
		_ = p.socket.SetDeadline(made.sent.Add(p.options.Timeout))
	}
	if _, err := p.socket.Write(p.request(made)); err != nil {
		return err
	}
	response, err := http.ReadResponse(p.reader, nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	// Where gRPC has its prefix there is nothing here.
	body := bytes.NewBuffer(make([]byte, prefix))
	_, err = io.Copy(body, response.Body)
	made.body, made.status = body.Bytes(), okay
	if response.StatusCode != http.StatusOK {
		made.fail(codeOfHTTP(strconv.Itoa(response.StatusCode)), response.Status)
	}
	return err
}

func (p *pipe) request(made *call) []byte {
	var out bytes.Buffer
	body := made.whole[prefix:]
	fmt.Fprintf(&out, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nserve_%s: %s\r\n",
		p.options.Method, p.options.Address, len(body), customerKey, made.customer)
	for i := 0; i+1 < len(p.options.Metadata); i += 2 {
		fmt.Fprintf(&out, "%s: %s\r\n", p.options.Metadata[i], p.options.Metadata[i+1])
	}
	out.WriteString("\r\n")
	out.Write(body)
	return out.Bytes()
}
