// The load on those that we are compared with: a program of its own, as our own load is one (events/load.rs), by the same rules and
// with the same answer: a line of JSON.
//
//	peers make nats|rabbit ADDRESSES            makes the stream or queue of three replicas; prints whom to ask
//	peers publish nats|rabbit ADDRESS CLIENTS WARM SECONDS BYTES
//	peers stream nats|rabbit ADDRESS WINDOW WARM SECONDS BYTES
//	peers set|get redis ADDRESS CLIENTS WARM SECONDS BYTES
//
// A client has a connection of its own and sends its next request when the last one was answered. In a stream one connection has
// WINDOW messages under way.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"
)

// What both loads are given.
type plan struct {
	address string
	clients int
	warm    time.Duration
	measure time.Duration
	bytes   int
}

// One client's way of sending one request and waiting for its answer.
type ask func() error

// A peer's clients.
type peer interface {
	client(plan plan, number int) (ask, error)
	// Sends until it is told to stop, with so many messages under way; tells of each how long its answer took.
	stream(plan plan, stop time.Time, took func(sent time.Time)) error
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(words []string) error {
	if len(words) == 3 && words[0] == "make" {
		return makes(words[1], words[2])
	}
	if len(words) != 7 {
		return fmt.Errorf("not a plan: %q", words)
	}
	var numbers [4]int
	for place := range numbers {
		number, err := strconv.Atoi(words[3+place])
		if err != nil {
			return fmt.Errorf("%q: %w", words, err)
		}
		numbers[place] = number
	}
	plan := plan{
		address: words[2],
		clients: numbers[0],
		warm:    time.Duration(numbers[1]) * time.Millisecond,
		measure: time.Duration(numbers[2]) * time.Millisecond,
		bytes:   numbers[3],
	}
	peer, err := peerOf(words[0], words[1])
	if err != nil {
		return err
	}
	if words[0] == "stream" {
		return streams(peer, plan)
	}
	return asks(peer, plan)
}

func peerOf(what, name string) (peer, error) {
	switch name {
	case "nats":
		return natsPeer{}, nil
	case "rabbit":
		return rabbitPeer{}, nil
	case "redis":
		return redisPeer{get: what == "get"}, nil
	}
	return nil, fmt.Errorf("nobody is called %q", name)
}

func makes(name, addresses string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	var told string
	var err error
	switch name {
	case "nats":
		told, err = natsMake(ctx, addresses)
	case "rabbit":
		told, err = rabbitMake(ctx, addresses)
	default:
		err = fmt.Errorf("nothing is made for %q", name)
	}
	if err == nil {
		fmt.Println(told)
	}
	return err
}

// All clients at once, each one request after the other.
func asks(peer peer, plan plan) error {
	clients := make([]ask, plan.clients)
	for number := range clients {
		client, err := peer.client(plan, number)
		if err != nil {
			return err
		}
		clients[number] = client
	}
	begin := time.Now().Add(plan.warm)
	end := begin.Add(plan.measure)
	var group sync.WaitGroup
	took := make([][]time.Duration, plan.clients)
	errors := make([]error, plan.clients)
	for number, client := range clients {
		group.Go(func() {
			for {
				sent := time.Now()
				if !sent.Before(end) {
					return
				}
				if errors[number] = client(); errors[number] != nil {
					return
				}
				if !sent.Before(begin) {
					took[number] = append(took[number], time.Since(sent))
				}
			}
		})
	}
	group.Wait()
	for _, err := range errors {
		if err != nil {
			return err
		}
	}
	return tell(slices.Concat(took...), time.Since(begin))
}

func streams(peer peer, plan plan) error {
	begin := time.Now().Add(plan.warm)
	end := begin.Add(plan.measure)
	var lock sync.Mutex
	var took []time.Duration
	note := func(sent time.Time) {
		lock.Lock()
		defer lock.Unlock()
		if !sent.Before(begin) {
			took = append(took, time.Since(sent))
		}
	}
	if err := peer.stream(plan, end, note); err != nil {
		return err
	}
	return tell(took, time.Since(begin))
}

func tell(took []time.Duration, elapsed time.Duration) error {
	if len(took) == 0 {
		return fmt.Errorf("nothing was answered")
	}
	slices.Sort(took)
	at := func(part float64) int64 { return took[int(float64(len(took)-1)*part)].Microseconds() }
	return json.NewEncoder(os.Stdout).Encode(map[string]any{
		"count": len(took), "seconds": elapsed.Seconds(), "p50_us": at(0.5), "p99_us": at(0.99),
	})
}
