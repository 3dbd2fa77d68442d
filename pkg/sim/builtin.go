package sim

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"driftd.dev/driftd/pkg/event"
)

// Epoch is where the demo clock starts.
var Epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// Story is the timetable of the demo, in event time since the start.
type Story struct {
	AmountFrom, AmountTo time.Duration // fraud: amount +35 %, both versions
	ChurnFrom, ChurnTo   time.Duration // churn: country DE disappears, XX appears, nulls
	CanaryFrom, CanaryTo time.Duration // fraud v42: errors, latency, scores
	Length               time.Duration
	Rate                 float64 // multiplies every model's rate; 1 makes about 8 predictions a second
}

// DefaultStory lasts seven hours and makes about 220,000 events.
var DefaultStory = Story{
	AmountFrom: 90 * time.Minute, AmountTo: 210 * time.Minute,
	ChurnFrom: 120 * time.Minute, ChurnTo: 210 * time.Minute,
	CanaryFrom: 240 * time.Minute, CanaryTo: 330 * time.Minute,
	Length: 7 * time.Hour, Rate: 1,
}

// Names lists the built-in scenarios.
func Names() []string { return []string{"demo", "quiet", "bench"} }

// Builtin returns a scenario by name.
func Builtin(name string) (Scenario, error) {
	switch name {
	case "demo":
		return Demo(DefaultStory), nil
	case "quiet":
		return Quiet(DefaultStory), nil
	case "bench":
		return Bench(), nil
	}
	return Scenario{}, fmt.Errorf("scenario %q: there are %v", name, Names())
}

// Demo is the demo's story: three models, drift, an outage, a bad canary, recovery.
func Demo(st Story) Scenario {
	s := Quiet(st)
	s.Name = "demo"
	s.Injections = []Injection{
		{Model: "fraud", Feature: "amount", Effect: Factor, Amount: 1.35, From: st.AmountFrom, To: st.AmountTo, Say: "amount +35 % in fraud (currency bug)"},
		{Model: "churn", Feature: "country", Effect: DropCategory, Category: "DE", From: st.ChurnFrom, To: st.ChurnTo, Say: "country DE disappears from churn (upstream outage)"},
		{Model: "churn", Feature: "country", Effect: NewCategory, Category: "XX", Amount: .06, From: st.ChurnFrom, To: st.ChurnTo, Say: "country XX appears in churn"},
		{Model: "churn", Feature: "days_since_login", Effect: Nulls, Amount: .35, From: st.ChurnFrom, To: st.ChurnTo, Say: "days_since_login is null in 35 % of churn"},
		{Model: "fraud", Version: "42", Effect: Errors, Amount: .25, From: st.CanaryFrom, To: st.CanaryTo, Say: "canary fraud v42 fails in 25 % of the calls"},
		{Model: "fraud", Version: "42", Effect: Latency, Amount: 4, From: st.CanaryFrom, To: st.CanaryTo, Say: "canary fraud v42 is four times slower"},
		{Model: "fraud", Version: "42", Effect: ScoreShift, Amount: 1.5, From: st.CanaryFrom, To: st.CanaryTo, Say: "canary fraud v42 scores everything higher"},
	}
	return s
}

// Quiet is the demo's traffic with nothing wrong: the null world, in which every
// page is a false alarm.
func Quiet(st Story) Scenario {
	rate := st.Rate
	if rate == 0 {
		rate = 1
	}
	return Scenario{Name: "quiet", Start: Epoch, Length: st.Length, Models: []Model{fraud(5 * rate), churn(1.5 * rate), support(rate)}}
}

func fraud(rate float64) Model {
	m := Model{
		Name: "fraud", Rate: rate, Entities: 20_000,
		Versions: []Version{
			{Name: "41", Variant: event.Primary, Share: .9, Latency: LogNormal{Mu: math.Log(12), Sigma: .35}, ErrorRate: .002, Cost: Constant(.0002)},
			{Name: "42", Variant: event.Canary, Share: .1, Latency: LogNormal{Mu: math.Log(12), Sigma: .35}, ErrorRate: .002, Cost: Constant(.0002)},
		},
		Segments: []Feature{{Name: "channel", Categories: []Category{{"app", 55}, {"web", 35}, {"pos", 10}}}},
		Features: []Feature{
			{Name: "amount", Dist: LogNormal{Mu: math.Log(48), Sigma: .55}, Unit: 100},
			{Name: "hour", Dist: Integer{Uniform{Low: -.5, High: 23.5}}},
			{Name: "country", Categories: []Category{{"DE", 28}, {"FR", 17}, {"US", 15}, {"GB", 12}, {"NL", 8}, {"ES", 7}, {"IT", 6}, {"PL", 4}, {"SE", 3}}},
			{Name: "currency", Categories: []Category{{"EUR", 66}, {"USD", 15}, {"GBP", 12}, {"PLN", 4}, {"SEK", 3}}},
			{Name: "merchant_category", Categories: []Category{{"grocery", 24}, {"fashion", 17}, {"electronics", 13}, {"travel", 10}, {"fuel", 9}, {"restaurant", 9}, {"games", 7}, {"pharmacy", 6}, {"gift_card", 5}}},
			{Name: "device", Categories: []Category{{"ios", 41}, {"android", 37}, {"desktop", 22}}},
			{Name: "email_domain", Categories: []Category{{"gmail.com", 52}, {"outlook.com", 17}, {"yahoo.com", 11}, {"gmx.de", 9}, {"icloud.com", 8}, {"other", 3}}, Missing: .02},
			{Name: "vip", Categories: []Category{{"false", 94}, {"true", 6}}},
			{Name: "new_device", Categories: []Category{{"false", 88}, {"true", 12}}},
			{Name: "account_age_days", Dist: Integer{Exponential{Mean: 620}}},
			{Name: "transactions_24h", Dist: Integer{Exponential{Mean: 2.4}}},
			{Name: "mean_amount_30d", Dist: LogNormal{Mu: math.Log(44), Sigma: .4}, Unit: 100, Missing: .03},
			{Name: "distance_km", Dist: Mixture{Share: .82, A: Exponential{Mean: 9}, B: LogNormal{Mu: 6, Sigma: .8}}, Unit: 10},
			{Name: "failed_logins", Dist: Integer{ZeroInflated{Zero: .9, Dist: Exponential{Mean: 2}}}},
			{Name: "session_s", Dist: LogNormal{Mu: 4.6, Sigma: .7}, Unit: 10},
			{Name: "chargebacks", Dist: Integer{ZeroInflated{Zero: .97, Dist: Exponential{Mean: 1.5}}}},
			{Name: "basket_items", Dist: Integer{LogNormal{Mu: .9, Sigma: .6}}},
			{Name: "ip_risk", Dist: Uniform{Low: 0, High: 1}, Unit: 1e4, Missing: .01},
		},
		Score: Score{
			Negative: "ok", Positive: "fraud", Bias: -3.2, Noise: .4,
			Weights: []Weight{
				{Feature: "amount", Weight: .5, Center: 56, Scale: 33},
				{Feature: "ip_risk", Weight: .9, Center: .5, Scale: .29},
				{Feature: "failed_logins", Weight: .6, Center: .2, Scale: .9},
				{Feature: "v1", Weight: .8, Center: 0, Scale: 1},
				{Feature: "v2", Weight: -.5, Center: 0, Scale: 1},
			},
			Confidence: true,
		},
		Outcomes: []Outcome{{Name: "label", Share: .12, Delay: Exponential{Mean: 1800}}},
	}
	for i := 1; len(m.Features) < 40; i++ { // principal components, as in published card data
		m.Features = append(m.Features, Feature{Name: "v" + strconv.Itoa(i), Dist: Normal{Sigma: 1 + .05*float64(i%5)}, Unit: 1e5})
	}
	return m
}

func churn(rate float64) Model {
	return Model{
		Name: "churn", Rate: rate, Entities: 8_000,
		Versions: []Version{{Name: "7", Share: 1, Latency: LogNormal{Mu: math.Log(30), Sigma: .3}, ErrorRate: .001, Cost: Constant(.0001)}},
		Segments: []Feature{{Name: "plan", Categories: []Category{{"free", 60}, {"pro", 30}, {"team", 10}}}},
		Features: []Feature{
			{Name: "country", Categories: []Category{{"DE", 26}, {"US", 24}, {"FR", 16}, {"GB", 13}, {"ES", 9}, {"IT", 7}, {"NL", 5}}},
			{Name: "days_since_login", Dist: Integer{Exponential{Mean: 11}}, Missing: .02},
			{Name: "tenure_months", Dist: Integer{Exponential{Mean: 19}}},
			{Name: "sessions_30d", Dist: Integer{LogNormal{Mu: 2.2, Sigma: .8}}},
			{Name: "minutes_30d", Dist: LogNormal{Mu: 4.8, Sigma: .9}, Unit: 10},
			{Name: "tickets_90d", Dist: Integer{ZeroInflated{Zero: .7, Dist: Exponential{Mean: 2}}}},
			{Name: "seats", Dist: Integer{LogNormal{Mu: .8, Sigma: .7}}},
			{Name: "price_eur", Dist: Mixture{Share: .6, A: Constant(0), B: Normal{Mean: 39, Sigma: 9}}, Unit: 100},
			{Name: "nps", Dist: Integer{Normal{Mean: 7.1, Sigma: 1.9}}, Missing: .4},
			{Name: "feature_usage", Dist: Uniform{Low: 0, High: 1}, Unit: 1e4},
			{Name: "autorenew", Categories: []Category{{"true", 71}, {"false", 29}}},
			{Name: "acquisition", Categories: []Category{{"organic", 44}, {"ads", 27}, {"referral", 18}, {"sales", 11}}},
		},
		Score: Score{
			Negative: "stay", Positive: "churn", Bias: -1.4, Noise: .3, Confidence: true,
			Weights: []Weight{
				{Feature: "days_since_login", Weight: .8, Center: 11, Scale: 11},
				{Feature: "feature_usage", Weight: -.7, Center: .5, Scale: .29},
				{Feature: "tickets_90d", Weight: .4, Center: .6, Scale: 1.4},
			},
		},
		Outcomes: []Outcome{{Name: "label", Share: .5, Delay: Normal{Mean: 5400, Sigma: 900}}}, // labels arrive late: an hour and a half
	}
}

func support(rate float64) Model {
	return Model{
		Name: "support-llm", Rate: rate, Entities: 5_000, Traced: true,
		Versions: []Version{{Name: "2026-01", Share: 1, Latency: LogNormal{Mu: math.Log(1400), Sigma: .5}, ErrorRate: .004, Cost: LogNormal{Mu: math.Log(.004), Sigma: .6}}},
		Segments: []Feature{{Name: "channel", Categories: []Category{{"chat", 70}, {"email", 30}}}},
		Features: []Feature{
			{Name: "prompt_tokens", Dist: Integer{LogNormal{Mu: 6.2, Sigma: .6}}},
			{Name: "answer_tokens", Dist: Integer{LogNormal{Mu: 5.1, Sigma: .5}}},
			{Name: "retrieved_chunks", Dist: Integer{Uniform{Low: .5, High: 8.5}}},
			{Name: "turn", Dist: Integer{Exponential{Mean: 2}}},
			{Name: "topic", Categories: []Category{{"billing", 31}, {"login", 24}, {"bug", 19}, {"how_to", 18}, {"cancel", 8}}},
			{Name: "language", Categories: []Category{{"en", 58}, {"de", 22}, {"fr", 12}, {"es", 8}}},
		},
		Score:    Score{Negative: "escalate", Positive: "answer", Bias: 1.3, Noise: 1, Confidence: true},
		Outcomes: []Outcome{{Name: "thumbs", Share: .3, Delay: Exponential{Mean: 90}, Up: .72}},
	}
}

// Bench is the traffic of the benchmarks: one model, 20 features, every feature
// kind, evenly spaced, without end.
func Bench() Scenario {
	m := Model{
		Name: "bench", Rate: 100_000, Even: true, Entities: 100_000,
		Versions: []Version{{Name: "1", Share: 1, Latency: LogNormal{Mu: math.Log(12), Sigma: .35}}},
		Score:    Score{Negative: "ok", Positive: "fraud", Bias: -2, Noise: 1, Confidence: true},
		Segments: []Feature{{Name: "channel", Categories: []Category{{"app", 55}, {"web", 35}, {"pos", 10}}}},
		Features: []Feature{
			{Name: "country", Categories: []Category{{"DE", 28}, {"FR", 17}, {"US", 15}, {"GB", 12}, {"NL", 8}, {"ES", 7}, {"IT", 6}, {"PL", 4}, {"SE", 3}}},
			{Name: "device_platform", Categories: []Category{{"ios", 41}, {"android", 37}, {"desktop", 22}}},
			{Name: "merchant_category", Categories: []Category{{"grocery", 24}, {"fashion", 17}, {"electronics", 13}, {"travel", 10}, {"restaurant", 9}}},
			{Name: "vip_customer", Categories: []Category{{"false", 94}, {"true", 6}}},
			{Name: "transaction_amount", Dist: LogNormal{Mu: math.Log(48), Sigma: .55}, Unit: 100},
			{Name: "customer_age_days", Dist: Integer{Exponential{Mean: 620}}},
			{Name: "distance_from_home", Dist: Exponential{Mean: 40}, Unit: 1e3},
			{Name: "mean_amount_30days", Dist: LogNormal{Mu: math.Log(44), Sigma: .4}, Unit: 100, Missing: .03},
		},
	}
	for i := len(m.Features); i < 20; i++ {
		m.Features = append(m.Features, Feature{Name: fmt.Sprintf("factor_%02d", i-7), Dist: Normal{Sigma: 1}, Unit: 1e6})
	}
	return Scenario{Name: "bench", Start: Epoch, Models: []Model{m}}
}
