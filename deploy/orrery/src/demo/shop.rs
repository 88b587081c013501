//! The shop: what its visitors do and how its services do it. Times and faults are drawn, from a seed a visit, so that
//! every run of the shop is alike.

use std::time::Duration;

use anyhow::Result;
use opentelemetry::Context;
use opentelemetry::logs::Severity;
use opentelemetry::trace::SpanContext;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::mpsc;

use super::service::{Fault, Outcome, Service};
use super::wire::{consume, database, end_entry, entry, external, grpc, http, publish};

const ORDERS: &str = "orders";
const NOTICES: &str = "notifications";
const POSTGRES: (&str, &str) = ("postgresql", "shop");
const REDIS: (&str, &str) = ("redis", "sessions");
const PAYMENTS: &str = "api.payments.example.com";
const MAIL: &str = "smtp.mail.example.com";

const DECLINED: Fault = Fault { kind: "PaymentDeclined", message: "the payment provider declined the card" };
const TIMED_OUT: Fault = Fault { kind: "PaymentTimeout", message: "the payment provider did not answer in 2 s" };
const OUT_OF_STOCK: Fault = Fault { kind: "OutOfStock", message: "the last item was sold a moment ago" };

/// A message on its way: the order and the span that put it into the queue.
type Message = (u64, SpanContext);

pub struct Shop {
    gateway: Service,
    catalog: Service,
    recommendation: Service,
    cart: Service,
    checkout: Service,
    inventory: Service,
    payment: Service,
    shipping: Service,
    notification: Service,
    orders: mpsc::Sender<Message>,
    notices: mpsc::Sender<Message>,
}

/// The readers' ends of the queues.
pub struct Queues {
    orders: mpsc::Receiver<Message>,
    notices: mpsc::Receiver<Message>,
}

impl Shop {
    /// Queues hold at most this many messages; a publisher waits beyond.
    const QUEUE: usize = 1024;

    pub fn open(endpoint: &str) -> Result<(Self, Queues)> {
        let (orders, order_reader) = mpsc::channel(Self::QUEUE);
        let (notices, notice_reader) = mpsc::channel(Self::QUEUE);
        let service = |name, version| Service::start(name, version, endpoint);
        let shop = Self {
            gateway: service("gateway", "2.4.0")?,
            catalog: service("catalog", "1.12.3")?,
            recommendation: service("recommendation", "0.9.1")?,
            cart: service("cart", "1.3.0")?,
            checkout: service("checkout", "3.0.2")?,
            inventory: service("inventory", "1.1.7")?,
            payment: service("payment", "2.0.0")?,
            shipping: service("shipping", "1.0.5")?,
            notification: service("notification", "0.4.2")?,
            orders,
            notices,
        };
        Ok((shop, Queues { orders: order_reader, notices: notice_reader }))
    }

    /// One visit: mostly looking, sometimes filling a cart, sometimes buying.
    pub async fn visit(&self, number: u64) {
        let mut dice = StdRng::seed_from_u64(number);
        match dice.random_range(0..100) {
            0..55 => self.browse(&mut dice).await,
            55..80 => self.fill_cart(&mut dice).await,
            _ => self.buy(number, &mut dice).await,
        }
    }

    async fn browse(&self, dice: &mut StdRng) {
        let (method, route) = ("GET", "/products/{id}");
        let op = entry(&self.gateway, method, route, format!("/products/{}", dice.random_range(1..500)));
        pause(dice, 3).await;
        let outcome = self.product(&op.context, dice).await;
        self.recommend(&op.context, dice).await;
        end_entry(&self.gateway, op, method, route, &outcome);
    }

    /// gateway → catalog over HTTP → PostgreSQL.
    async fn product(&self, parent: &Context, dice: &mut StdRng) -> Outcome {
        let hop = http(parent, &self.gateway, &self.catalog, "GET", "/products/{id}");
        let query = database(hop.context(), &self.catalog, POSTGRES, ("SELECT", "products"));
        pause(dice, 6).await;
        query.end(&Ok(()));
        self.catalog.count("product viewed");
        hop.end(&Ok(()));
        Ok(())
    }

    /// gateway → recommendation over gRPC → Redis; the slow one of the shop. Its answer is dispensable.
    async fn recommend(&self, parent: &Context, dice: &mut StdRng) {
        let hop = grpc(parent, &self.gateway, &self.recommendation, "shop.Recommendation", "List");
        let look = database(hop.context(), &self.recommendation, REDIS, ("GET", "recommendations"));
        pause(dice, 2).await;
        look.end(&Ok(()));
        let miss = dice.random_range(0..5) == 0;
        if miss {
            let (context, text) = (hop.context(), "cache miss, computing recommendations anew".to_owned());
            self.recommendation.log(
                context,
                Severity::Warn,
                text,
                &[("shop.candidates", dice.random_range(200..2000))],
            );
        }
        pause(dice, if miss { 700 } else { 40 }).await;
        hop.end(&Ok(()));
    }

    async fn fill_cart(&self, dice: &mut StdRng) {
        let (method, route) = ("POST", "/cart");
        let op = entry(&self.gateway, method, route, route.to_owned());
        let hop = grpc(&op.context, &self.gateway, &self.cart, "shop.Cart", "AddItem");
        let check = grpc(hop.context(), &self.cart, &self.catalog, "shop.Catalog", "GetProduct");
        let query = database(check.context(), &self.catalog, POSTGRES, ("SELECT", "products"));
        pause(dice, 4).await;
        query.end(&Ok(()));
        check.end(&Ok(()));
        let write = database(hop.context(), &self.cart, REDIS, ("HSET", "carts"));
        pause(dice, 2).await;
        write.end(&Ok(()));
        let items = dice.random_range(1..6);
        self.cart.log(hop.context(), Severity::Info, format!("cart holds {items} items"), &[("shop.items", items)]);
        self.cart.count("item added");
        hop.end(&Ok(()));
        end_entry(&self.gateway, op, method, route, &Ok(()));
    }

    async fn buy(&self, number: u64, dice: &mut StdRng) {
        let (method, route) = ("POST", "/checkout");
        let op = entry(&self.gateway, method, route, route.to_owned());
        let hop = http(&op.context, &self.gateway, &self.checkout, method, route);
        hop.server.set("shop.order.id", i64::try_from(number).unwrap_or(i64::MAX));
        let outcome = self.place_order(hop.context(), number, dice).await;
        self.checkout.count(if outcome.is_ok() { "order placed" } else { "order failed" });
        hop.end(&outcome);
        end_entry(&self.gateway, op, method, route, &outcome);
    }

    /// checkout → cart, inventory and payment, then into the queue.
    async fn place_order(&self, parent: &Context, number: u64, dice: &mut StdRng) -> Outcome {
        let read = grpc(parent, &self.checkout, &self.cart, "shop.Cart", "GetCart");
        let look = database(read.context(), &self.cart, REDIS, ("HGETALL", "carts"));
        pause(dice, 2).await;
        look.end(&Ok(()));
        read.end(&Ok(()));
        self.reserve(parent, dice).await?;
        self.charge(parent, dice).await?;
        let send = publish(parent, &self.checkout, ORDERS);
        let message = (number, send.span_context());
        pause(dice, 2).await;
        send.end(&Ok(()));
        // The readers live as long as the shop; without them nothing is shipped and nobody minds.
        let _ = self.orders.send(message).await;
        self.checkout.log(parent, Severity::Info, format!("order {number} placed"), &[]);
        Ok(())
    }

    async fn reserve(&self, parent: &Context, dice: &mut StdRng) -> Outcome {
        let hop = grpc(parent, &self.checkout, &self.inventory, "shop.Inventory", "Reserve");
        let update = database(hop.context(), &self.inventory, POSTGRES, ("UPDATE", "stock"));
        pause(dice, 12).await;
        update.end(&Ok(()));
        let outcome = if dice.random_range(0..100) < 3 { Err(OUT_OF_STOCK) } else { Ok(()) };
        hop.end(&outcome);
        outcome
    }

    /// payment → the provider outside, which declines some cards and sometimes does not answer.
    async fn charge(&self, parent: &Context, dice: &mut StdRng) -> Outcome {
        let hop = http(parent, &self.checkout, &self.payment, "POST", "/charges");
        let call = external(hop.context(), &self.payment, PAYMENTS, "/v1/charges");
        let (outcome, status, typical_ms) = match dice.random_range(0..100) {
            0..6 => (Err(DECLINED), 402, 120),
            6..8 => (Err(TIMED_OUT), 504, 2000),
            _ => (Ok(()), 200, 150),
        };
        pause(dice, typical_ms).await;
        call.set("http.response.status_code", status);
        call.end(&outcome);
        hop.end(&outcome);
        outcome
    }

    /// shipping takes an order out of the queue, writes it down, and tells notification through another queue.
    async fn ship(&self, (number, producer): Message) {
        let mut dice = StdRng::seed_from_u64(number ^ 0x5419);
        let op = consume(&self.shipping, ORDERS, producer);
        let write = database(&op.context, &self.shipping, POSTGRES, ("INSERT", "shipments"));
        pause(&mut dice, 8).await;
        write.end(&Ok(()));
        let send = publish(&op.context, &self.shipping, NOTICES);
        let message = (number, send.span_context());
        send.end(&Ok(()));
        let _ = self.notices.send(message).await;
        self.shipping.log(&op.context, Severity::Info, format!("order {number} handed to the carrier"), &[]);
        op.end(&Ok(()));
    }

    /// notification takes the notice and hands a letter to the mail company.
    async fn notify(&self, (number, producer): Message) {
        let mut dice = StdRng::seed_from_u64(number ^ 0xa0711);
        let op = consume(&self.notification, NOTICES, producer);
        let mail = external(&op.context, &self.notification, MAIL, "/send");
        pause(&mut dice, 60).await;
        mail.set("http.response.status_code", 202);
        mail.end(&Ok(()));
        op.end(&Ok(()));
    }

    /// Works off both queues for ever.
    pub async fn work_off(&self, mut queues: Queues) {
        loop {
            tokio::select! {
                Some(order) = queues.orders.recv() => self.ship(order).await,
                Some(notice) = queues.notices.recv() => self.notify(notice).await,
                else => return,
            }
        }
    }
}

/// Passes the time that a step takes: about `typical_ms`, seldom several times that.
async fn pause(dice: &mut StdRng, typical_ms: u64) {
    let tail = -dice.random::<f64>().max(0.01).ln();
    tokio::time::sleep(Duration::from_micros((typical_ms as f64 * 1000.0 * (0.4 + 0.6 * tail)) as u64)).await;
}
