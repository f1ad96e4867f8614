extension ModelReplica {
  /// Reads back an adapter that was saved from this replica, as whoever gets it will, and compares: what is in memory, and the loss on a public
  /// text. The adapter's memory is made unusable before, so that what isn't in the files can't be what was there.
  ///
  /// - Throws: ``AdapterError/damaged(directory:reason:)``
  package func checkAdapter(savedIn directory: String, tokenizer: any Tokenizer) throws {
    func damaged(_ reason: String) -> AdapterError { .damaged(directory: directory, reason: reason) }
    guard let adapters = plan.configuration.adapters else { preconditionFailure("a model without adapters") }
    let ids = publicIDs(tokenizer)
    let (before, trained) = (loss(ofIDs: ids), adapterChecksums())
    do {
      let stored = try AdapterFile.read(directory: directory)
      let model = try plan.configuration.base.adapted(by: stored, LoRAOptions())
      guard model.adapters?.scale == adapters.scale, model.adaptedModules == plan.configuration.adaptedModules,
        model.adapters?.savedParameters == adapters.savedParameters
      else { throw damaged("\(AdapterFile.configurationName) describes another one") }
      for entry in plan.table.whole where entry.isOfAdapter { values(of: entry).update(repeating: .nan) }
      try readAdapter(from: directory)
    } catch let error as any UserError {
      throw error is AdapterError ? error : damaged("\(error)")
    }
    let after = loss(ofIDs: ids)
    guard trained == adapterChecksums() else { throw damaged("its tensors have other values than were trained") }
    guard before.bitPattern == after.bitPattern else { throw damaged("its loss on a public text is \(after), and was \(before)") }
  }

  /// Of every tensor that is stored with the adapter, also of an A that isn't trained.
  private func adapterChecksums() -> [Int] { plan.table.whole.filter(\.isOfAdapter).map { Self.checksum(values(of: $0)) } }

  /// Adds each adapter's product into the weight that it stands beside: `W += s·B·A`, in the weight's own layout.
  package func mergeAdapter() {
    guard let adapters = plan.configuration.adapters else { preconditionFailure("a model without adapters") }
    func matrix(_ entry: ParameterLayout.Entry) -> Matrix {
      Matrix(values(of: entry).baseAddress!, rows: entry.shape[0], columns: entry.shape[1])
    }
    let whole = plan.table.whole
    for names in plan.configuration.factors {
      let (weight, down, up) = (matrix(whole[names.weight]), matrix(whole[names.down]), matrix(whole[names.up]))
      if plan.configuration.storesInputByOutput {
        MatrixProducts.multiply(.transposed(down), .transposed(up), into: weight, alpha: Float(adapters.scale), beta: 1)
      } else {
        MatrixProducts.multiply(.plain(up), .plain(down), into: weight, alpha: Float(adapters.scale), beta: 1)
      }
    }
  }

  /// The first weight with an adapter that holds a value which isn't finite.
  package var firstMergedNotFinite: String? {
    plan.configuration.factors.map(\.weight).first { !values(of: plan.table.whole[$0]).allSatisfy(\.isFinite) }
  }

  /// Ids of a text that everybody knows.
  private func publicIDs(_ tokenizer: any Tokenizer) -> [Int32] {
    var ids = tokenizer.beginOfText.map { [$0] } ?? []
    let text = Array("We hold these truths to be self-evident, that all men are created equal.".utf8)
    tokenizer.encode(text[...], limit: .max, into: &ids)
    ids = Array(ids.prefix(min(plan.capacity.positions, plan.capacity.rows)))
    if plan.configuration.labels != nil { return ids.isEmpty ? [0] : ids }
    // A language model's last id is a target alone.
    return ids.count > 1 ? ids : [0, 0]
  }

  /// The loss of a language model on ids, in nats a target; of a classifier that of the first label.
  private func loss(ofIDs ids: [Int32]) -> Double {
    microbatch.removeAll()
    if plan.configuration.labels == nil { microbatch.append(unit: 0, ids: ids) } else { microbatch.append(unit: 0, ids: ids, label: 0) }
    let pass = Pass(memory, microbatch)
    model.losses(pass)
    return pass.batch.losses.reduce(0, +)
  }
}
