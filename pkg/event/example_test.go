package event_test

import (
	"fmt"

	"driftd.dev/driftd/pkg/event"
)

func Example() {
	policy, err := event.NewPolicy(event.PolicySpec{Fields: map[string]event.FieldRule{"email": {Action: event.Drop}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	decoder := event.NewDecoder(policy, event.DefaultLimits)
	var batch event.Batch
	for _, data := range []string{
		`{"id":"1","model":"fraud","features":{"amount":73.1,"email":"a@example.org"},"prediction":"ok"}`,
		`{"id":"2","model":"fraud","features":{"amount":NaN}}`,
	} {
		if reject := decoder.Decode(&batch, 0, "ml.predictions.fraud.42", []byte(data)); reject != nil {
			fmt.Println(reject)
		}
	}
	e := &batch.Events[0]
	fmt.Println(e.ID, e.Features.Names, e.Values[0].Num, e.Prediction.Str)
	// Output:
	// decode: byte 47, features.amount: NaN is not JSON; send null (Python: json.dumps(..., allow_nan=False) finds it)
	// 1 [amount] 73.1 ok
}
