package main

import (
	"bufio"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"sort"
	"strings"
	"sync/atomic"
)

// customers names the customer of each request. It is safe for use by several goroutines, each with a rand of its own.
type customers interface {
	next(random *rand.Rand) string
}

// names are customers by number: those of a file, or a pattern such as customer-%07d.
type names struct {
	pattern string
	listed  []string
	count   int
}

func (n names) name(number int) string {
	if n.listed != nil {
		return n.listed[number]
	}
	return fmt.Sprintf(n.pattern, number)
}

// one is always the same customer.
type one string

func (o one) next(*rand.Rand) string { return string(o) }

// uniform asks for all alike.
type uniform struct{ names }

func (u uniform) next(random *rand.Rand) string { return u.name(random.IntN(u.count)) }

// inTurn asks for one after the other, and after the last for the first again: with as many customers as requests
// nobody is asked for twice.
type inTurn struct {
	names
	asked *atomic.Int64
}

func (t inTurn) next(*rand.Rand) string { return t.name(int((t.asked.Add(1) - 1) % int64(t.count))) }

// zipf asks for the k-th customer with a probability that is proportional to 1/k^s. Go's own Zipf needs s > 1.
type zipf struct {
	names
	cumulative []float64
}

func newZipf(of names, exponent float64) zipf {
	cumulative, sum := make([]float64, of.count), 0.0
	for rank := range cumulative {
		sum += math.Pow(float64(rank+1), -exponent)
		cumulative[rank] = sum
	}
	return zipf{of, cumulative}
}

func (z zipf) next(random *rand.Rand) string {
	at := random.Float64() * z.cumulative[z.count-1]
	return z.name(min(sort.SearchFloat64s(z.cumulative, at), z.count-1))
}

// newCustomers is what the options say.
func newCustomers(o options) (customers, error) {
	if o.Customer != "" {
		return one(o.Customer), nil
	}
	of := names{pattern: o.Customers, count: o.Count}
	if o.CustomersFile != "" {
		listed, err := readLines(o.CustomersFile)
		if err != nil {
			return nil, err
		}
		of = names{listed: listed, count: len(listed)}
	}
	switch {
	case of.count < 1:
		return nil, fmt.Errorf("there is no customer to ask for: use --customer, --customers with --count, or --customers-file")
	case o.Order == "uniform":
		return uniform{of}, nil
	case o.Order == "zipf":
		return newZipf(of, o.Zipf), nil
	case o.Order == "turn":
		return inTurn{of, &atomic.Int64{}}, nil
	}
	return nil, fmt.Errorf("--order is uniform, zipf or turn, not %s", o.Order)
}

func readLines(path string) ([]string, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var lines []string
	for scanner := bufio.NewScanner(file); scanner.Scan(); {
		if line := strings.TrimSpace(scanner.Text()); line != "" {
			lines = append(lines, line)
		}
	}
	return lines, nil
}
