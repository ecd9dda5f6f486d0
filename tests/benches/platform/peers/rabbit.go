package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const queueName = "bench"

type rabbitPeer struct{}

// Makes the queue at the first of the addresses, which then leads it.
func rabbitMake(ctx context.Context, addresses string) (string, error) {
	first, _, _ := strings.Cut(addresses, ",")
	var last error
	for ctx.Err() == nil {
		if last = rabbitTry(first); last == nil {
			return first, nil
		}
		time.Sleep(200 * time.Millisecond)
	}
	return "", fmt.Errorf("no queue: %w", last)
}

func rabbitTry(address string) error {
	channel, err := rabbitChannel(address)
	if err != nil {
		return err
	}
	arguments := amqp.Table{"x-queue-type": "quorum", "x-quorum-initial-group-size": int32(3)}
	_, err = channel.QueueDeclare(queueName, true, false, false, false, arguments)
	return err
}

func rabbitChannel(address string) (*amqp.Channel, error) {
	connection, err := amqp.Dial("amqp://guest:guest@" + address + "/")
	if err != nil {
		return nil, err
	}
	channel, err := connection.Channel()
	if err != nil {
		return nil, err
	}
	return channel, channel.Confirm(false)
}

func rabbitSend(channel *amqp.Channel, body []byte) (*amqp.DeferredConfirmation, error) {
	message := amqp.Publishing{DeliveryMode: amqp.Persistent, Body: body}
	return channel.PublishWithDeferredConfirm("", queueName, false, false, message)
}

func confirmed(confirmation *amqp.DeferredConfirmation) error {
	ctx, cancel := context.WithTimeout(context.Background(), answerMax)
	defer cancel()
	ok, err := confirmation.WaitContext(ctx)
	if err == nil && !ok {
		err = errors.New("it was refused")
	}
	return err
}

func (rabbitPeer) client(plan plan, _ int) (ask, error) {
	channel, err := rabbitChannel(plan.address)
	if err != nil {
		return nil, err
	}
	body := make([]byte, plan.bytes)
	return func() error {
		confirmation, err := rabbitSend(channel, body)
		if err != nil {
			return err
		}
		return confirmed(confirmation)
	}, nil
}

func (rabbitPeer) stream(plan plan, stop time.Time, took func(time.Time)) error {
	channel, err := rabbitChannel(plan.address)
	if err != nil {
		return err
	}
	type sent struct {
		at           time.Time
		confirmation *amqp.DeferredConfirmation
	}
	// One is in the hands of whoever waits for it.
	under := make(chan sent, plan.clients-1)
	end := make(chan error, 1)
	go func() {
		var failed error
		for one := range under {
			if err := confirmed(one.confirmation); err != nil {
				failed = err
			} else {
				took(one.at)
			}
		}
		end <- failed
	}()
	body := make([]byte, plan.bytes)
	for time.Now().Before(stop) {
		at := time.Now()
		confirmation, err := rabbitSend(channel, body)
		if err != nil {
			return err
		}
		under <- sent{at, confirmation}
	}
	close(under)
	return <-end
}
