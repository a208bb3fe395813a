package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// options are what is to be done, as given on the command line; the result repeats them.
type options struct {
	Address       string        `json:"address"`
	TLS           bool          `json:"tls"`
	HTTP          bool          `json:"http,omitempty"`
	Method        string        `json:"method"`
	Metadata      pairs         `json:"-"` // It may hold a token.
	Connections   int           `json:"connections"`
	InFlight      int           `json:"in_flight"`
	Rate          float64       `json:"rate"`
	Poisson       bool          `json:"poisson"`
	MaxInFlight   int           `json:"max_in_flight"`
	Duration      time.Duration `json:"-"`
	Requests      int           `json:"requests"`
	WarmUp        time.Duration `json:"-"`
	Timeout       time.Duration `json:"-"`
	Customer      string        `json:"customer,omitempty"`
	Customers     string        `json:"customers,omitempty"`
	Count         int           `json:"count,omitempty"`
	Order         string        `json:"order"`
	Zipf          float64       `json:"zipf"`
	CustomersFile string        `json:"customers_file,omitempty"`
	Window        int           `json:"window"`
	Horizon       int           `json:"horizon"`
	Quantiles     floats        `json:"quantiles,omitempty"`
	RequestFile   string        `json:"request_file,omitempty"`
	ExpectFile    string        `json:"-"`
	ExpectBytes   int           `json:"-"`
	Tiers         bool          `json:"-"`
	Stream        bool          `json:"stream,omitempty"`
	Items         int           `json:"items"`
	StormRate     float64       `json:"storm_rate,omitempty"`
	StormName     string        `json:"storm_customers,omitempty"`
	Seed          uint64        `json:"seed"`
}

func parse(arguments []string, errors io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("forecast-grpc-load", flag.ContinueOnError)
	flags.SetOutput(errors)
	flags.StringVar(&o.Address, "address", "127.0.0.1:9000", "where the service listens")
	flags.BoolVar(&o.TLS, "tls", false, "call over TLS")
	flags.BoolVar(&o.HTTP, "http", false, "POST by HTTP/1.1 to the path --method what --request-file holds, one at a time on each connection")
	flags.StringVar(&o.Method, "method", "/forecast.v1.ForecastService/Forecast", "the RPC to call")
	flags.Var(&o.Metadata, "metadata", "key=value to send with each request; may be repeated")
	flags.IntVar(&o.Connections, "connections", 8, "connections")
	flags.IntVar(&o.InFlight, "in-flight", 2, "closed loop: requests under way on each connection")
	flags.Float64Var(&o.Rate, "rate", 0, "open loop: requests a second, whether or not the earlier ones are answered")
	flags.BoolVar(&o.Poisson, "poisson", false, "open loop: at random times, as independent callers would, not at equal distances")
	flags.IntVar(&o.MaxInFlight, "max-in-flight", 4096, "open loop: requests under way before further ones wait, their time running")
	flags.DurationVar(&o.Duration, "duration", 5*time.Second, "how long to send")
	flags.IntVar(&o.Requests, "requests", 0, "how many to send, in place of --duration")
	flags.DurationVar(&o.WarmUp, "warm-up", 0, "how long to send before anything is counted")
	flags.DurationVar(&o.Timeout, "timeout", 10*time.Second, "deadline of each request; 0 for none")
	flags.StringVar(&o.Customer, "customer", "", "ask for this customer alone")
	flags.StringVar(&o.Customers, "customers", "customer-%07d", "names of customers by number, from 0")
	flags.IntVar(&o.Count, "count", 0, "number of customers")
	flags.StringVar(&o.Order, "order", "uniform", "uniform, zipf, or turn: each once before any is asked for again")
	flags.Float64Var(&o.Zipf, "zipf", 1.1, "exponent of Zipf's law")
	flags.StringVar(&o.CustomersFile, "customers-file", "", "names of customers, one a line, in place of --customers")
	flags.IntVar(&o.Window, "window", 10, "observations in each request")
	flags.IntVar(&o.Horizon, "horizon", 0, "steps to forecast; 0 for the model's own")
	flags.Var(&o.Quantiles, "quantiles", "quantile levels to ask for, such as 0.1,0.9")
	flags.StringVar(&o.RequestFile, "request-file", "", "the encoded request message, in place of --window, --horizon, --quantiles")
	flags.StringVar(&o.ExpectFile, "expect-file", "", "what every answer has to be, encoded; others count as WRONG")
	flags.IntVar(&o.ExpectBytes, "expect-bytes", 0, "how long every answer has to be; others count as WRONG")
	flags.BoolVar(&o.Tiers, "tiers", false, "split the latencies by the trailing metadata forecast-cache")
	flags.BoolVar(&o.Stream, "stream", false, "one stream on each connection, with --in-flight messages under way on it")
	flags.IntVar(&o.Items, "items", 1, "forecasts that a request of --request-file asks for")
	flags.Float64Var(&o.StormRate, "storm-rate", 0, "besides, requests a second for customers nobody has asked for")
	flags.StringVar(&o.StormName, "storm-customers", "unknown-%09d", "their names by number, from 0")
	flags.Uint64Var(&o.Seed, "seed", 1, "of what is chosen at random")
	if err := flags.Parse(arguments); err != nil {
		return o, err
	}
	if o.Stream {
		o.Timeout = 0 // It is one call, however long.
	}
	return o, o.check(flags.Args())
}

func (o options) check(rest []string) error {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("there is no argument %s", rest[0])
	case o.Connections < 1 || o.InFlight < 1 || o.MaxInFlight < 1:
		return errors.New("--connections, --in-flight and --max-in-flight are at least 1")
	case o.Rate < 0 || o.StormRate < 0 || o.Window < 0 || o.Requests < 0:
		return errors.New("--rate, --storm-rate, --window and --requests are not below 0")
	case o.Items < 1 || o.Stream && (o.Rate > 0 || o.HTTP):
		return errors.New("--items is at least 1, and --stream is a closed loop of gRPC")
	case o.HTTP && o.RequestFile == "":
		return errors.New("--http needs a --request-file: the JSON to send")
	case o.Requests == 0 && o.Duration <= 0:
		return errors.New("--duration is above 0")
	}
	return nil
}

// pairs are key=value, as they are put into metadata: key, value, key, value.
type pairs []string

func (p *pairs) String() string { return "" }

func (p *pairs) Set(text string) error {
	key, value, found := strings.Cut(text, "=")
	if !found {
		return errors.New("not key=value")
	}
	*p = append(*p, key, value)
	return nil
}

// floats are numbers between commas.
type floats []float64

func (f *floats) String() string { return "" }

func (f *floats) Set(text string) error {
	for part := range strings.SplitSeq(text, ",") {
		value, err := strconv.ParseFloat(part, 64)
		if err != nil {
			return err
		}
		*f = append(*f, value)
	}
	return nil
}
