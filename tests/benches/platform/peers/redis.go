package main

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// Keys of one client, in turn.
const keysOfClient = 16

type redisPeer struct{ get bool }

func (peer redisPeer) client(plan plan, number int) (ask, error) {
	ctx := context.Background()
	client := redis.NewClient(&redis.Options{Addr: plan.address, PoolSize: 1})
	keys := make([]string, keysOfClient)
	body := make([]byte, plan.bytes)
	for place := range keys {
		keys[place] = fmt.Sprintf("key-%d-%d", number, place)
		if err := client.Set(ctx, keys[place], body, 0).Err(); err != nil {
			return nil, err
		}
	}
	turn := 0
	return func() error {
		turn++
		key := keys[turn%keysOfClient]
		if !peer.get {
			return client.Set(ctx, key, body, 0).Err()
		}
		value, err := client.Get(ctx, key).Bytes()
		if err == nil && len(value) != plan.bytes {
			err = fmt.Errorf("%s has %d bytes", key, len(value))
		}
		return err
	}, nil
}

func (redisPeer) stream(plan, time.Time, func(time.Time)) error {
	return fmt.Errorf("nothing is streamed to redis")
}
