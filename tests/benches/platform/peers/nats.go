package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	streamName = "BENCH"
	subject    = "bench"
	// The longest that anybody waits for one answer.
	answerMax = 10 * time.Second
	// Who has no leader yet does not answer at all: it is asked again.
	tryMax = 3 * time.Second
)

type natsPeer struct{}

func natsConnect(address string, options ...jetstream.JetStreamOpt) (jetstream.JetStream, error) {
	connection, err := nats.Connect("nats://" + address)
	if err != nil {
		return nil, err
	}
	return jetstream.New(connection, options...)
}

// Makes the stream, and says at which of the addresses its leader is.
func natsMake(ctx context.Context, addresses string) (string, error) {
	all := strings.Split(addresses, ",")
	var last error
	for ctx.Err() == nil {
		place, err := natsTry(ctx, all[0])
		if err == nil {
			if place >= len(all) {
				return "", fmt.Errorf("member %d leads of %d", place, len(all))
			}
			return all[place], nil
		}
		last = err
		time.Sleep(200 * time.Millisecond)
	}
	return "", fmt.Errorf("no stream: %w", last)
}

func natsTry(ctx context.Context, address string) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, tryMax)
	defer cancel()
	js, err := natsConnect(address)
	if err != nil {
		return 0, err
	}
	defer js.Conn().Close()
	stream, err := js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: streamName, Subjects: []string{subject}, Storage: jetstream.FileStorage, Replicas: 3,
	})
	if err != nil {
		return 0, err
	}
	info, err := stream.Info(ctx)
	if err != nil {
		return 0, err
	}
	if info.Cluster == nil || len(info.Cluster.Replicas) != 2 {
		return 0, errors.New("it has no two followers")
	}
	for _, replica := range info.Cluster.Replicas {
		if !replica.Current || replica.Offline {
			return 0, fmt.Errorf("%s is not up to date", replica.Name)
		}
	}
	var place int
	_, err = fmt.Sscanf(info.Cluster.Leader, "n%d", &place)
	return place, err
}

func (natsPeer) client(plan plan, _ int) (ask, error) {
	js, err := natsConnect(plan.address)
	if err != nil {
		return nil, err
	}
	body := make([]byte, plan.bytes)
	return func() error {
		ctx, cancel := context.WithTimeout(context.Background(), answerMax)
		defer cancel()
		_, err := js.Publish(ctx, subject, body)
		return err
	}, nil
}

func (natsPeer) stream(plan plan, stop time.Time, took func(time.Time)) error {
	js, err := natsConnect(plan.address, jetstream.WithPublishAsyncMaxPending(plan.clients))
	if err != nil {
		return err
	}
	type sent struct {
		at     time.Time
		future jetstream.PubAckFuture
	}
	// As many as may be under way: nobody waits for a place in it.
	under := make(chan sent, plan.clients)
	end := make(chan error, 1)
	go func() {
		var failed error
		for one := range under {
			select {
			case <-one.future.Ok():
				took(one.at)
			case err := <-one.future.Err():
				failed = err
			}
		}
		end <- failed
	}()
	body := make([]byte, plan.bytes)
	for time.Now().Before(stop) {
		at := time.Now()
		future, err := js.PublishAsync(subject, body, jetstream.WithStallWait(answerMax))
		if err != nil {
			return err
		}
		under <- sent{at, future}
	}
	close(under)
	return <-end
}
